"""Profiles: kept in a file that people may edit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.main import run
from cli.output import CommandError
from cli.profiles import Profile, Profiles, load_profiles, profiles_path, save_profiles

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
PROFILE = st.builds(Profile, node=TEXT, key=TEXT, policy=TEXT, description=TEXT)


@given(
    st.dictionaries(st.from_regex(r"[a-z0-9][a-z0-9-]{0,10}", fullmatch=True), PROFILE, max_size=4)
)
def test_what_is_saved_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, by_name: dict[str, Profile]
) -> None:
    home = tmp_path_factory.mktemp("profiles")
    profiles = Profiles(home, next(iter(by_name), ""), by_name)
    save_profiles(profiles)
    assert load_profiles(home) == profiles


def test_without_a_file_there_are_no_profiles(tmp_path: Path) -> None:
    profiles = load_profiles(tmp_path)
    assert profiles.select(None) == Profile()
    with pytest.raises(CommandError, match="no profile"):
        profiles.select("somebody")


@pytest.mark.parametrize(
    "text", ["profiles = 1", "[profiles.a]\nnodes = 'x'", "[profiles.a]\nnode = 3", "=", "\0"]
)
def test_a_malformed_file_is_named(tmp_path: Path, text: str) -> None:
    profiles_path(tmp_path).write_text(text)
    with pytest.raises(CommandError, match=r"profiles\.toml"):
        load_profiles(tmp_path)


def test_profiles_are_added_chosen_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MULU_HOME", str(tmp_path))
    assert run(["profile", "add", "one", "--node", "http://127.0.0.1:1"]) == 0
    assert run(["profile", "add", "two", "--node", "http://127.0.0.1:2"]) == 0
    assert load_profiles(tmp_path).default == "one"
    assert run(["profile", "use", "two"]) == 0
    assert load_profiles(tmp_path).select(None).node == "http://127.0.0.1:2"
    assert run(["profile", "remove", "two"]) == 0
    assert set(load_profiles(tmp_path).by_name) == {"one"}
    assert run(["profile", "add", "No Name", "--node", "http://127.0.0.1:1"]) == 2
    assert run(["profile", "use", "two"]) == 2
    capsys.readouterr()


def test_the_approver_of_a_division_is_known_where_one_profile_says_so() -> None:
    approver = Profile(organisation="11110112MB1A00052Q")
    others = {"a-approver": Profile(organisation="11120000MB1A00036M"), "b-editor": approver}
    profiles = Profiles(Path(), "", {**others, "c-approver": approver})
    assert profiles.approver_for("11110112MB1D52349B") == "c-approver"
    assert profiles.approver_for("11130000MB1A00044L") is None
    assert profiles.approver_for("") is None
    two = Profiles(Path(), "", {"c-approver": approver, "d-approver": approver})
    assert two.approver_for("11110112MB1D52349B") is None
