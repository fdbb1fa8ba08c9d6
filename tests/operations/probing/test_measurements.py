"""Which of what is measured become headlines: at several points and by layer lists of lists, curves nowhere."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rashomon_cli.operations.probe import probe

TOP = {"top_k": 3, "top_bottom": 1, "samples": 60}


def test_vectors_at_the_points_of_a_path_are_lists_of_lists(zoo, at):
    run = probe(at(zoo), run="ab", what="top,gradient", points=2, **TOP)
    m, found = run.metrics, run.measurements()["probe"]
    assert m["eigenvalues_top"] == found["eigenvalues_top"].values.tolist()
    assert np.shape(m["eigenvalues_top"]) == np.shape(m["residuals_top"]) == (2, 3)
    assert np.shape(m["eigenvalues_bottom"]) == (2, 1)
    assert np.shape(m["gradient_norm"]) == (2,)
    names = list(m)
    assert names.index("t") < names.index("gradient_norm") < names.index("eigenvalues_top")


def test_by_layer_they_lie_behind_the_points(zoo, at):
    model, path = (
        probe(at(zoo), run=run, what="top,trace", by="layer", points=2, trace_matvecs=10, **TOP) for run in ("a", "ab")
    )
    layers = ["layers.1", "layers.3", "layers.5"]
    assert model.metrics["layer"] == path.metrics["layer"] == layers
    assert np.shape(model.metrics["eigenvalues_top"]) == (3, 3)
    assert np.shape(model.metrics["trace_layer"]) == (3,)
    assert np.shape(path.metrics["eigenvalues_top"]) == (2, 3, 3)
    assert np.shape(path.metrics["trace_layer"]) == np.shape(path.metrics["trace_layer_stderr"]) == (2, 3)
    names = list(path.metrics)
    assert names.index("matvecs") < names.index("layer") < names.index("trace_layer")


def test_an_entry_that_there_is_not_is_null(zoo, at):
    """A layer of 72 parameters has no 80 eigenvalues."""
    run = probe(at(zoo), run="a", what="top", by="layer", samples=60, top_k=80, top_bottom=0, layers="layers.3")
    (values,) = json.loads(json.dumps(run.metrics, allow_nan=False))["eigenvalues_top"]
    assert len(values) == 80
    assert [value is None for value in values] == [False] * 72 + [True] * 8


@pytest.mark.parametrize("run", ["a", "ab"])
def test_curves_raw_densities_and_words_that_say_nothing_are_in_the_file_only(zoo, at, run):
    small = {"density_probes": 2, "density_steps": 4, "dimension_probes": 2, "dimension_steps": 5}
    small |= {"dimension_routes": "quadrature", "samples": 60}
    done = probe(at(zoo), run=run, what="density,dimension", points=2, **small)
    m, found = done.metrics, done.measurements()["probe"]
    assert "dimension" in m
    assert "negative_mass" in m
    kept = {"density_seed", "dimension_density_resolution", "dimension_quadrature_refused", "dimension_curve"}
    assert kept | {"lanczos_steps"} <= found.keys()
    assert not [name for name in m if "density_" in name or "curve" in name or name in kept]
    assert not [name for name, value in m.items() if value in ("", ["", ""])]
    assert "lanczos_steps" not in m
