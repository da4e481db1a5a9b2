"""The requests of the stock 3D Slicer module, as it builds them."""

import numpy as np
import SimpleITK as sitk
from server_studies import write_nrrd

LAYERS = ["background_scribbles", "foreground_scribbles"]


def panel_parameters(client, model):
    """What ``getParamsFromConfig`` of the module reads out of the server's ``/info``: the first of each list."""
    config = client.info()["models"][model]["config"]
    return {name: value[0] if isinstance(value, list) else value for name, value in config.items()}


def answer(client, model, image, params, label=None):
    """Array (I, J, K) and reply, with what ``MONAILabelLogic.infer`` adds to every request."""
    params |= {"result_extension": ".nrrd", "result_dtype": "uint8"}
    path, reply = client.infer(model, image, params, label_in=label)
    return sitk.GetArrayFromImage(sitk.ReadImage(path)).T, reply


def scribbles(client, tmp_path, label, selected, names=("liver", "spleen"), image="phantom", **more):
    """*Update* in the Scribbles panel: all segments, the two layers among them."""
    segments = [*names, *LAYERS]
    params = panel_parameters(client, "slmsam2") | {
        "roi": [],
        "label_info": [{"name": name, "id": n + 1} for n, name in enumerate(segments)],
        "selected_label_name": selected,
    }
    file = str(write_nrrd(tmp_path / "scribbles.nrrd", label.astype(np.uint8)))
    return answer(client, "slmsam2", image, params | more, file)


def smart_edit(client, model, foreground, background=(), label="liver", image="phantom", **more):
    """A click in the SmartEdit panel."""
    params = {"label": label, "foreground": list(foreground), "background": list(background)}
    params["label"] = label
    params |= panel_parameters(client, model) | more
    return answer(client, model, image, params)


def slices_of(array):
    return np.flatnonzero(array.any(axis=(0, 1))).tolist()
