#!/usr/bin/env bash
# The server, for real use; does its own set-up.
#   bash scripts/start.sh [studies folder or DICOMweb URL] [options of 'monailabel start_server']
# Without studies: a working copy of the bundled CT in output/studies. Listens on this machine only
# (127.0.0.1, port 8000); '--host 0.0.0.0' opens it to the network.
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh
# MONAI Label starts training and DICOM tools by their names: this environment's must come first.
export PATH="$PWD/.venv/bin:$PATH"

studies=
if [ $# -gt 0 ] && [[ "$1" != -* ]]; then
    studies=$1
    shift
    [[ "$studies" =~ ^(/|https?://) ]] || studies=$here/$studies
    if [[ ! "$studies" =~ ^https?:// && ! -d "$studies" ]]; then
        echo "start: no folder '$studies'. Give a folder with images, or the URL of a DICOMweb server." >&2
        exit 2
    fi
else
    studies=$PWD/output/studies
    mkdir -p "$studies"
    # A copy: the server writes labels beside the images it serves.
    [ -e "$studies/ct_abdomen.nii.gz" ] || cp data/ts_ct_abdomen_3mm/image.nii.gz "$studies/ct_abdomen.nii.gz"
    set -- --conf labels liver,spleen,kidney_right,kidney_left "$@"
fi

# The same as 'monailabel start_server', whose launcher would split a path with spaces.
exec python -m monailabel.main start_server --app "$PWD/apps/slmsam2" --studies "$studies" --host 127.0.0.1 "$@"
