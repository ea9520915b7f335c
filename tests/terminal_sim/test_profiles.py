"""Profiles name their faults; configurations of a kind come from weights."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from terminal_sim.profiles import ProfileError, read_profile, read_profiles

GOOD = '[hardware]\nmodel = "m"\n'


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('name = "x"\n', "hardware"),
        (f'name = "x"\ncolour = 1\n{GOOD}', "colour"),
        (f'name = "x"\n{GOOD}memory_mib = "1000"\n', "quantised"),
        (f'name = "x"\n{GOOD}serial = "1"\n', "serial"),
        (f'name = "x"\n{GOOD}[user]\ntake = 0.8\nreject = 0.3\n', "more than 1"),
        (f'name = "x"\n{GOOD}[user]\ntake = 1.8\n', "take"),
        (f'name = "x"\n{GOOD}[user]\nspending_limit = "1e"\n', "1e"),
        (f'name = "x"\n{GOOD}[user.units_a_use]\nsecond = [9, 3]\n', "second"),
        (f'name = "x"\n{GOOD}[[choice]]\noptions = []\n', "options"),
        ("name = ", "not TOML"),
    ],
)
def test_a_fault_is_told_with_file_and_key(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=word) as fault:
        read_profile(path)
    assert str(path) in str(fault.value)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="no profile"):
        read_profiles(tmp_path)


def test_choices_vary_by_weight(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(f'name = "x"\n{GOOD}[[choice]]\noptions = [{{ weight = 9 }}, {{ hardware = {{ model = "n" }} }}]\n')
    profile = read_profile(path)
    chance = random.Random(1)
    models = [profile.configuration(chance).hardware["model"] for _ in range(1000)]
    assert 50 < models.count("n") < 150
