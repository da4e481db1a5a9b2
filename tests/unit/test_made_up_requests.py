"""Parameters of requests made up by hypothesis: each is understood, or refused with a sentence."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up import made_up
from sentences import check_sentence
from slmsam2.errors import SlmSam2Error
from slmsam2.server.requests.assembly import Request, assemble
from slmsam2.server.requests.painted import Painted
from slmsam2.server.requests.parameters import parse_parameters
from slmsam2.server.requests.points import parse_clicks
from slmsam2.server.requests.received import safe_params
from slmsam2.server.routes.json_objects import parse_object
from slmsam2.volume import Volume

pytestmark = pytest.mark.unit

SHAPE = (7, 6, 5)

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 8)
    | st.just(10**400)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=5)
    | st.sampled_from(["1" * 400, "٣", "1.0", " 2 ", "nan", "auto"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
points = st.lists(st.lists(st.integers(-1, 7), min_size=3, max_size=3), max_size=3)
SENSIBLE = {
    "structures": st.lists(st.sampled_from(["liver", "spleen"])),
    "selected_label_name": st.sampled_from(["liver", "spleen", "x"]),
    "label_info": st.just([{"name": "liver", "id": 1}]),
    "prompt_slices": st.lists(st.integers(0, 7)) | st.just({"liver": [0]}),
    "axis": st.sampled_from([0, 1, 2]),
    "window": st.sampled_from(["40/400", [1, 2]]),
    "preset": st.sampled_from(["abdomen", "auto"]),
    "speed": st.sampled_from(["fast", "quality"]),
    "direction": st.sampled_from(["both", "forward"]),
    "first_slice": st.integers(-1, 7),
    "last_slice": st.integers(-1, 7),
    "keep_largest": st.booleans(),
    "undo": st.booleans(),
    "start_anew": st.booleans(),
    "client_id": st.just("ann"),
    "tag": st.just("final"),
    "label_tag": st.just("final"),
    "save_label": st.booleans(),
    "device": st.just("cpu"),
    "request_id": st.just("x"),
    "most_seconds": st.floats(),
    "result_extension": st.just(".nrrd"),
    "result_dtype": st.just("uint8"),
    "result_compress": st.booleans(),
    "foreground": points,
    "background": points,
    "roi": st.lists(st.integers(-3, 9), min_size=6, max_size=6),
    "slice": st.integers(-1, 8),
}
requests = st.lists(st.sampled_from(sorted(SENSIBLE)), max_size=5, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: SENSIBLE[name] | anything for name in names})
)


def understood(read):
    """What ``read`` gives; None when it refuses with a sentence. Anything else fails the test."""
    try:
        return read()
    except SlmSam2Error as error:
        check_sentence(error)
        return None


@made_up(300)
@given(request=requests, flat=st.booleans(), clicked=st.booleans(), data=st.data())
def test_requests(request, flat, clicked, data):
    parameters = understood(lambda: parse_parameters(request))
    clicks = understood(lambda: parse_clicks(request, SHAPE))
    if parameters is None or clicks is None:
        return
    label = np.zeros(SHAPE, np.uint8)
    for value in (1, 2):
        label[:, 2:, data.draw(st.integers(0, SHAPE[2] - 1))][data.draw(st.integers(0, 6)) :] = value
    names = {"liver": 1, "spleen": 2}
    image = Volume(np.arange(label.size).reshape(SHAPE).astype(np.int16), np.diag([-1.0, 1, 3, 1]))
    painted = Painted(label, names, names, False, None)
    asked = Request(image, painted, clicks if clicked or flat else None, flat, parameters, {})
    made = understood(lambda: assemble(asked))
    if made is not None:
        job, structures, _ = made
        assert set(structures.items()) <= set(names.items())
        assert all(0 <= index < job.view.num_slices for given_ in job.prompts.values() for index in given_)


@made_up(300)
@given(text=st.builds(json.dumps, requests | anything) | st.text())
def test_params_as_text(text):
    params = understood(lambda: safe_params(text, "image"))
    if params is not None:
        json.dumps(params, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": 1e999}', r'{"\ud800": 1}', "[" * 9000, '{"a":' * 99 + "1" + "}" * 99, "[]"]
)
def test_json_that_cannot_be_kept(text):
    with pytest.raises(SlmSam2Error, match=r"Send|JSON"):
        parse_object("params", text)
