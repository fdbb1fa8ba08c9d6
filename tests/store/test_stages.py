"""Stages: computations that several runs share."""

import pytest

from rashomon_cli.core.errors import Busy
from rashomon_cli.core.results import Result
from rashomon_cli.store import Store


def test_a_stage_is_shared_and_locked(store):
    with store.stage({"l1": 1e-4, "seed": 1}) as stage:
        stage.save("epoch-1", Result(metrics={"epoch": 1}))
        with pytest.raises(Busy):
            store.stage({"seed": 1, "l1": 1e-4})
        store.stage({"l1": 1e-5, "seed": 1}).release()
    with Store.open(store.root).stage({"seed": 1, "l1": 1e-4}) as stage:
        assert stage.part("epoch-1").metrics == {"epoch": 1}
    assert store.rows() == []
