from palimpsest.records.balance import Balance

_SOURCES = Balance(
    what="sources",
    verb="found",
    total=1200,
    parts={"new": 1000, "known": 150, "rejected": 50},
)


def test_balance_is_written_as_an_equation() -> None:
    assert _SOURCES.total_text == "1,200 sources found"
    assert _SOURCES.parts_text == "1,000 new + 150 known + 50 rejected"
    assert (_SOURCES.missing, _SOURCES.verdict) == (0, "nothing is missing")


def test_missing_items_are_counted() -> None:
    balance = _SOURCES._replace(total=1203)
    assert (balance.missing, balance.verdict) == (3, "**does not balance, off by 3**")


def test_balance_survives_json() -> None:
    values = _SOURCES.to_dict()
    assert values["parts"][0] == {"name": "new", "count": 1000}
    assert values["missing"] == 0
    assert Balance.from_dict(values) == _SOURCES
