import pytest

from rashomon_cli.cli.console import Bar


@pytest.fixture
def drawn(monkeypatch, capfd):
    """drawn(act, columns): what a terminal is sent while ``act`` has a bar."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")

    def draw(act, columns=120):
        monkeypatch.setenv("COLUMNS", str(columns))
        with Bar() as bar:
            act(bar)
        return capfd.readouterr().err

    return draw


def test_how_things_stand_is_shown_beside_the_loss(drawn):
    def act(bar):
        bar.tell("nothing has begun")
        bar.start("connect", 3)
        bar.tick(0.5)
        bar.tell("barrier 0.2100 [b]")

    shown = drawn(act)
    assert "loss 0.5000" in shown
    assert "barrier 0.2100 [b]" in shown
    assert "nothing has begun" not in shown


def test_the_next_phase_begins_without_it(drawn):
    def act(bar):
        bar.start("connect", 3)
        bar.tell("barrier 0.2100")
        bar.start("evaluate", 3)

    assert "barrier" not in drawn(act)


def test_a_narrow_terminal_has_no_room_for_it(drawn):
    def act(bar):
        bar.start("connect", 3)
        bar.tell("barrier 0.2100")

    assert "barrier" not in drawn(act, columns=50)
