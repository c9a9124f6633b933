"""Catch-all clauses: which texts name no task of their own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory.catch_all import is_catch_all

CATCH_ALL = (
    "Carry out other duties assigned by the city.",
    "Undertake and complete any other work entrusted by the committee and the government.",
    "Handle other matters as may be assigned.",
    "Be responsible for other relevant tasks that the district assigns.",
    "PERFORM OTHER FUNCTIONS PRESCRIBED BY LAW.",
    "Other responsibilities which the superior authority delegates to it.",
    "Finish other tasks\nassigned by the Road Committee",
    "Other matters given by the mayor; other tasks assigned by the council.",
    "完成市里交办的其他任务。",
    "承办区委、区政府交办的其他事项",
    "法律、法规规定的其他职责。",
    "其他由上级机关交办的工作。",
)

NO_CATCH_ALL = (
    "",
    " \n",
    ".",
    "Plan roads.",
    "Plan roads. Carry out other duties assigned by the city.",
    "Coordinate other departments and supervise the funds assigned by the city.",
    "Register cars, and other tasks assigned.",
    "Assign housing to residents and keep other lists.",
    "Keep the other records of the matter.",
    "统筹道路建设。完成市里交办的其他任务。",
    "管理其他车辆的登记工作。",
    "other tasks " * 200 + "assigned",
)


@pytest.mark.parametrize("text", CATCH_ALL)
def test_a_clause_on_other_tasks_is_recognised(text: str) -> None:
    assert is_catch_all(text)


@pytest.mark.parametrize("text", NO_CATCH_ALL)
def test_a_responsibility_that_names_its_task_is_none(text: str) -> None:
    assert not is_catch_all(text)


@given(st.text(max_size=200))
def test_any_text_is_judged(text: str) -> None:
    assert is_catch_all(text) in (True, False)


@given(st.text(alphabet="İıſKéß其他任务", max_size=30))
def test_letters_outside_ascii_are_never_folded_into_it(text: str) -> None:
    assert is_catch_all(f"Do other taſKs assigned {text}") is False
