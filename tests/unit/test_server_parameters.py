"""What a client may ask for: how it is read, and what is refused with which sentence."""

import json

import numpy as np
import pytest

from slmsam2.errors import ConfigurationError, PromptError
from slmsam2.server.requests.parameters import label_tag, parse_parameters
from slmsam2.server.requests.received import safe_params, segment_name
from slmsam2.volume import PRESETS

pytestmark = pytest.mark.unit


def test_nothing_asked_for():
    parameters = parse_parameters({"model": "slmsam2", "image": "ct", "client_id": None})
    assert parameters.structures is None
    assert parameters.prompt_slices is None
    assert parameters.axis is None
    assert parameters.window is None
    assert parameters.direction == "both"
    assert (parameters.first_slice, parameters.last_slice) == (None, None)
    assert (parameters.reply.extension, parameters.reply.dtype, parameters.reply.compress) == (
        ".nii.gz",
        None,
        False,
    )


def test_speed_is_the_server_s_unless_asked_for():
    assert parse_parameters({}).speed == "quality"
    assert parse_parameters({}, speed="fast").speed == "fast"
    assert parse_parameters({"speed": ["balanced", "quality"]}, speed="fast").speed == "balanced"
    with pytest.raises(PromptError, match="quality, balanced, fast"):
        parse_parameters({"speed": "faster"})


def test_what_slicer_sends():
    parameters = parse_parameters(
        {
            "device": "cpu",
            "preset": "auto",
            "direction": "both",
            "axis": "auto",
            "roi": [],
            "label_info": [{"name": "liver", "id": 1}, {"name": "spleen", "id": 2}],
            "selected_label_name": "spleen",
            "result_extension": ".nrrd",
            "result_dtype": "uint8",
        }
    )
    assert parameters.selected == "spleen"
    assert parameters.label_info == [{"name": "liver", "id": 1}, {"name": "spleen", "id": 2}]
    assert (parameters.axis, parameters.window, parameters.device) == (None, None, "cpu")
    assert (parameters.reply.extension, parameters.reply.dtype) == (".nrrd", np.uint8)


def test_blanks_belong_to_names_of_structures_alone():
    request = {"selected_label_name": " liver", "structures": ["spleen ", "spleen"], "client_id": " me "}
    parameters = parse_parameters(request)
    assert (parameters.selected, parameters.structures) == (" liver", ["spleen ", "spleen"])
    assert parameters.client == "me"
    assert parse_parameters({"selected_label_name": " "}).selected is None


def test_config_sent_back_as_lists():
    parameters = parse_parameters(
        {
            "preset": ["auto", "lung"],
            "direction": ["backward", "both"],
            "axis": ["auto", "0"],
            "device": ["cpu"],
        }
    )
    assert (parameters.window, parameters.direction, parameters.axis) == (None, "backward", None)
    assert parameters.device == "cpu"


@pytest.mark.parametrize("given", [[7, 3, 7], "7, 3", ["3", 7.0], (7, 3)])
def test_slices(given):
    assert parse_parameters({"prompt_slices": given}).prompt_slices == [3, 7]
    named = {"liver": given, "spleen": []}
    assert parse_parameters({"prompt_slices": named}).prompt_slices == {"liver": [3, 7], "spleen": []}
    by_axis = {"liver": {"2": given, "0": []}}
    assert parse_parameters({"prompt_slices": by_axis}).prompt_slices == {"liver": {2: [3, 7], 0: []}}


@pytest.mark.parametrize(
    ("axis", "expected"), [(0, 0), ("1", 1), (2, 2), ("auto", None), ("", None), (None, None)]
)
def test_axis(axis, expected):
    assert parse_parameters({"axis": axis}).axis == expected


@pytest.mark.parametrize("window", ["40/400", [40, 400], [40.0, 400.0]])
def test_window(window):
    parsed = parse_parameters({"window": window, "preset": "lung"}).window
    assert parsed is not None
    assert (parsed.low, parsed.high) == (-160, 240)


def test_preset_and_the_servers_own():
    assert parse_parameters({"preset": "lung"}, "bone").window == PRESETS["lung"]
    assert parse_parameters({}, "bone").window == PRESETS["bone"]
    assert parse_parameters({"preset": "auto"}, "bone").window is None
    assert parse_parameters({"window": "40/80"}, "bone").window == PRESETS["brain"]


def test_structures():
    assert parse_parameters({"structures": "liver"}).structures == ["liver"]
    assert parse_parameters({"structures": ["liver", "spleen", "liver"]}).structures == ["liver", "spleen"]
    assert parse_parameters({"structures": []}).structures is None


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        ({"axis": 3}, PromptError, "0, 1, 2"),
        ({"axis": True}, PromptError, "0, 1, 2"),
        ({"direction": "up"}, PromptError, "both, forward, backward"),
        ({"most_seconds": 0}, PromptError, "above 0"),
        ({"most_seconds": "soon"}, PromptError, "above 0"),
        ({"prompt_slices": [-1]}, PromptError, "prompt_slices must hold slice numbers"),
        ({"prompt_slices": [1.5]}, PromptError, "prompt_slices must hold slice numbers"),
        ({"prompt_slices": {"a": "here"}}, PromptError, "prompt_slices must hold slice numbers"),
        ({"prompt_slices": {"a": {"0": [-1]}}}, PromptError, "prompt_slices must hold slice numbers"),
        ({"prompt_slices": {"a": {"3": [1]}}}, PromptError, "prompt_slices names an axis '3'"),
        ({"first_slice": "top"}, PromptError, "first_slice must hold slice numbers"),
        ({"last_slice": True}, PromptError, "last_slice must hold slice numbers"),
        ({"first_slice": 9, "last_slice": 3}, PromptError, "Swap them"),
        ({"structures": [1]}, PromptError, "list of structure names"),
        ({"structures": {"liver": 1}}, PromptError, "list of structure names"),
        ({"label_info": "liver"}, PromptError, "label_info must be a list"),
        ({"selected_label_name": 4}, PromptError, "selected_label_name must be a text"),
        ({"window": "wide"}, ConfigurationError, "level/width"),
        ({"window": 40}, ConfigurationError, "level/width"),
        ({"window": "40/-1"}, ConfigurationError, "width above 0"),
        ({"preset": "heart"}, ConfigurationError, "abdomen"),
        ({"result_extension": ".stl"}, ConfigurationError, ".nrrd"),
        ({"result_extension": "/../x.nrrd"}, ConfigurationError, ".nrrd"),
        ({"result_dtype": "object"}, ConfigurationError, "uint8"),
        ({"result_compress": "maybe"}, PromptError, "true or false"),
    ],
)
def test_refused(request_, error, says):
    with pytest.raises(error, match=says.replace(".", r"\.")):
        parse_parameters(request_)


def test_the_reply_is_compressed_when_asked_for():
    for said, wanted in ((True, True), ("true", True), ("False", False), ("", False)):
        assert parse_parameters({"result_compress": said}).reply.compress is wanted


@pytest.mark.parametrize("request_", [{"tag": "../final"}, {"label_tag": "/tmp"}])
def test_tags_that_are_no_names(request_):
    with pytest.raises(PromptError, match="no label tag"):
        label_tag(request_)


def test_label_tag():
    assert label_tag({}) is None
    assert label_tag({"tag": "final", "label_tag": "mine"}) == "final"
    assert label_tag({"label_tag": "mine"}) == "mine"
    assert label_tag({"label_tag": "mine", "save_label": True}) is None


@pytest.mark.parametrize("text", [None, "", "{}", '{"image": "ct"}'])
def test_safe_params_are_empty(text):
    assert safe_params(text, "ct") == {}


def test_a_label_name_selects_the_segment():
    assert safe_params(json.dumps({"label": "liver", "axis": 2}), "ct") == {
        "selected_label_name": "liver",
        "axis": 2,
    }
    both = safe_params(json.dumps({"label": "liver", "selected_label_name": "spleen"}), "ct")
    assert both == {"selected_label_name": "spleen"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[1]", "one JSON object"),
        ('{"image": "/etc/hostname"}', "another image"),
        ('{"image": null}', "another image"),
        ('{"label": "/etc/hostname"}', "is a path"),
        ('{"label": "../ct.nii.gz"}', "is a path"),
        ('{"label": ["liver"]}', "name of a structure"),
    ],
)
def test_unsafe_params(text, says):
    with pytest.raises(PromptError, match=says):
        safe_params(text, "ct")


@pytest.mark.parametrize("name", ["liver", "left/right kidney", "tumour 1.2", "Leber (rechts)"])
def test_segment_names(name):
    assert segment_name(name) == name


@pytest.mark.parametrize(
    "path", ["/tmp/x", "C:\\x", "\\\\host\\x", "a/../../b", "label.nrrd", "sub/label.NII.GZ"]
)
def test_paths_are_no_segment_names(path):
    with pytest.raises(PromptError, match="uploaded"):
        segment_name(path)
