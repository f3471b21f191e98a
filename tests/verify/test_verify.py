"""A shop that served, and what `verify` says of it."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from onefold.cli import main
from onefold.demo.faults import Fault
from onefold.features.errors import NotFoundError
from onefold.serving.errors import ApiError
from onefold.verify import Cause, Mismatch, Report, verify

if TYPE_CHECKING:
    from tests.verify.conftest import Shop

Causes = Callable[[Report], dict[str, set[str | None]]]
OfFeature = Callable[[Report, str], list[Mismatch]]

SPEND = {"orders_1d", "spend_1d", "mean_1h", "units_1d", "log_spend", "ratio", "owed", "below_most", "same_log"}
"""Features in which an order within the last hour shows, by way of its customer's state."""


def ordinary_hour(shop: Shop) -> None:
    """Orders and payments of two customers in two shops, with a request behind each."""
    for minute in range(0, 60, 5):
        customer = 1 + minute // 5 % 2
        shop.order(minute, customer, "ab"[minute % 2])
        shop.pay(minute + 1, customer)
        shop.score(minute + 2, customer, "a")


def test_what_was_served_well_has_no_mismatch(shop: Shop) -> None:
    ordinary_hour(shop)
    report = shop.verify()
    assert report.ok and not report.causes
    assert report.verdict() == "verify: 0 mismatches in 180 values (12 rows x 15 features)"
    assert (report.scores, report.unprovable, report.late_rows, report.failed) == (12, 0, 0, 0)


def test_a_row_that_is_an_event_itself_has_one_value_before_and_after_it_comes_in(shop: Shop) -> None:
    shop.define("source=payments, entity=customer,", 'source=payments, entity=customer, request_row="include",')
    shop.define("features=[spend[[", "features=[money, spend[[")
    shop.rebuild()
    shop.pay(0, payment="p1")
    before = shop.look_up(10, payment="p2", paid=7.5)
    shop.pay(10, paid=7.5, payment="p2")
    assert before == shop.look_up(10, payment="p2", paid=7.5)
    assert (before["payments_1d"], before["paid_1d"], before["last_paid"]) == (2, 12.5, 7.5)
    assert shop.look_up(20, customer=2, payment="p3", paid=1.0)["payments_1d"] == 1
    assert shop.look_up(10, payment="p4", paid=100.0)["paid_1d"] == 112.5
    report = shop.verify()
    assert report.ok and report.rows == 4, report.verdict()


def test_a_feature_that_reads_the_time_is_served_and_its_lost_event_is_found(shop: Shop, causes: Causes) -> None:
    shop.define(
        "SELECT count(*) OVER d1 AS orders_1d,",
        "SELECT time_since_last() OVER d1 AS idle, count(*) OVER d1 AS orders_1d,",
    )
    shop.define('spend[["orders_1d",', 'spend[["idle", "orders_1d",')
    shop.rebuild()
    shop.order(0)
    assert shop.look_up(10)["idle"] == 600_000_000
    shop.inject(Fault.DROP_EVENT, "customer", nth=1)
    shop.order(11)
    assert shop.look_up(12)["idle"] == 720_000_000
    report = shop.verify()
    assert causes(report) == {"missing event": {"idle", "orders_1d", "spend_1d"}}


def test_nothing_served_is_an_error_that_says_what_to_do(shop: Shop) -> None:
    with pytest.raises(NotFoundError, match="nothing was served; score something, then verify"):
        shop.verify()


# --- faults of the state -------------------------------------------------------------------------------------------


def test_an_event_dropped_from_the_state_is_missing(shop: Shop, causes: Causes) -> None:
    shop.pay(0)
    shop.order(0)
    shop.order(1, customer=2)
    shop.inject(Fault.DROP_EVENT, "customer", nth=1)
    shop.order(2)
    shop.order(3)
    shop.score(4)
    report = shop.verify()
    assert causes(report) == {Cause.MISSING_EVENT: {*SPEND, None}}
    assert report.mismatches[0].detail == "event at sequence 0, offset 2 of 'orders', in the state of 'customer'"


def test_an_event_that_is_twice_in_the_state_is_doubled(shop: Shop, causes: Causes) -> None:
    shop.order(0)
    shop.pay(0)
    shop.inject(Fault.DOUBLE_EVENT, "customer", nth=1)
    shop.order(1, amount=2.0)
    shop.order(2, customer=2)
    shop.order(3)
    shop.score(4)
    report = shop.verify()
    assert causes(report) == {Cause.DOUBLED_EVENT: {*SPEND, None}}
    assert "offset 1 of 'orders', in the state of 'customer'" in report.mismatches[0].detail


def test_a_fault_is_found_on_every_row_that_it_touches_and_on_no_other(shop: Shop) -> None:
    shop.inject(Fault.DROP_EVENT, "customer", nth=3)
    for minute in range(0, 3000, 40):
        shop.order(minute, customer=1)
        shop.score(minute + 1)
        shop.score(minute + 1, customer=2)
    report = shop.verify()
    assert set(report.causes) == {Cause.MISSING_EVENT}
    touched = sum(80 <= minute + 1 <= 80 + 24 * 60 for minute in range(0, 3000, 40))
    assert sum(m.feature == "orders_1d" for m in report.mismatches) == touched
    assert all("offset 2 of" in m.detail for m in report.mismatches)


def test_a_record_that_is_cut_is_a_decode_error(shop: Shop, causes: Causes) -> None:
    shop.order(0)
    shop.score(1)
    shop.change_string("orders", "customer", 1, change=lambda state: state[:-3])
    with pytest.raises(ApiError):
        shop.score(2)
    shop.score(2, customer=2)
    report = shop.verify()
    assert causes(report) == {Cause.DECODE_ERROR: SPEND}
    assert "cut off" in report.mismatches[0].detail
    assert report.failed == 1 and report.values == 2 * 15 + len(SPEND)


def test_a_lost_tail_is_missing_events_by_their_position(shop: Shop, causes: Causes) -> None:
    shop.pay(0)
    for minute in range(6):
        shop.order(minute)
    shop.change_string("orders", "customer", 1, change=lambda state: state[: len(state) // 2])
    shop.score(7)
    report = shop.verify()
    assert causes(report) == {Cause.MISSING_EVENT: {*SPEND, None}}
    detail = report.mismatches[0].detail
    assert all(f"offset {offset} of" in detail for offset in (3, 4, 5))


def test_a_state_that_was_trimmed_is_partial(shop: Shop, causes: Causes) -> None:
    shop.order(0)
    shop.pay(1)
    shop.order(60 * 24 * 3, customer=2)
    shop.rebuild()  # its floor is now two days above the first order
    shop.score(3)
    report = shop.verify()
    assert set(report.causes) == {Cause.STATE_PARTIAL}
    assert {"orders_1d", "spend_1d", "mean_1h", None} <= causes(report)[Cause.STATE_PARTIAL]


def test_a_state_whose_bytes_changed_gives_altered_values(shop: Shop, causes: Causes) -> None:
    shop.pay(0)
    shop.order(0, amount=10.0)
    shop.order(1, amount=11.0)
    shop.score(2)
    ten, other = struct.pack("<d", 10.0), struct.pack("<d", 12.5)
    shop.change_string("orders", "customer", 1, change=lambda state: state.replace(ten, other))
    shop.score(3)
    report = shop.verify()
    assert causes(report) == {Cause.VALUE_ALTERED: SPEND - {"orders_1d", "units_1d"} | {None}}
    assert "no missing or doubled event explains it" in report.mismatches[0].detail


def test_faults_of_two_states_in_one_row_are_told_apart(shop: Shop, of_feature: OfFeature) -> None:
    shop.order(0, amount=3.0)
    shop.inject(Fault.DROP_EVENT, "customer", nth=1)
    shop.order(1, amount=50.0)
    shop.inject(Fault.DOUBLE_EVENT, "shop", nth=1)
    shop.order(2, amount=7.0)
    shop.order(3, customer=2, shop="b")
    shop.order(4, amount=8.0)
    shop.score(5)
    report = shop.verify()
    assert {m.cause for m in of_feature(report, "orders_1d")} == {Cause.MISSING_EVENT}
    assert {m.cause for m in of_feature(report, "shop_orders_3h")} == {Cause.DOUBLED_EVENT}
    assert set(report.causes) == {Cause.MISSING_EVENT, Cause.DOUBLED_EVENT}


def test_a_feature_of_two_groups_has_the_cause_of_the_one_at_fault(shop: Shop, of_feature: OfFeature) -> None:
    shop.order(0, amount=3.0)
    shop.pay(1, paid=2.0)
    shop.inject(Fault.DROP_EVENT, "customer", nth=1)
    shop.order(2, amount=50.0)
    shop.order(3)
    shop.score(4)
    (owed,) = of_feature(shop.verify(), "owed")
    assert owed.cause == Cause.MISSING_EVENT and "of 'orders', in the state of 'customer'" in owed.detail


def test_a_service_that_gives_only_the_difference_of_two_groups_is_explained(shop: Shop, causes: Causes) -> None:
    shop.define(
        "small = FeatureService",
        'gap = FeatureService(name="gap", features=[basket[["below_most"]]])\nsmall = FeatureService',
    )
    shop.order(0, amount=3.0)
    shop.inject(Fault.DROP_EVENT, "shop", nth=1)
    shop.order(1, amount=50.0)
    shop.order(2, amount=4.0)
    body = {"service": "gap", "rows": [{"customer": 1, "shop": "a", "event_timestamp": "2026-01-01T00:03:00Z"}]}
    shop.ask(body)
    report = shop.verify()
    assert causes(report) == {Cause.MISSING_EVENT: {"below_most"}}
    assert "in the state of 'shop'" in report.mismatches[0].detail


def test_a_copy_of_an_event_with_an_id_changes_nothing(shop: Shop) -> None:
    shop.pay(0, payment="once", paid=4.0)
    shop.pay(0, payment="once", paid=4.0)
    shop.order(1)
    shop.score(2)
    assert shop.verify().ok


# --- faults of the log, the definitions, the scores ----------------------------------------------------------------


def logged(row: dict[str, Any], feature: str) -> float:
    return float(row["features"][feature])


def test_a_logged_value_that_was_changed_is_altered(shop: Shop, causes: Causes) -> None:
    ordinary_hour(shop)

    def perturb(rows: list[dict[str, Any]]) -> None:
        rows[4]["features"]["spend_1d"] += 1.0

    shop.change_log(perturb)
    report = shop.verify()
    assert causes(report) == {Cause.VALUE_ALTERED: {"spend_1d"}}
    assert (report.wrong_values, report.wrong_scores) == (1, 0)


def test_a_logged_score_that_was_changed_is_altered(shop: Shop, causes: Causes) -> None:
    ordinary_hour(shop)

    def perturb(rows: list[dict[str, Any]]) -> None:
        rows[4]["score"] += 1e-3

    shop.change_log(perturb)
    report = shop.verify()
    assert causes(report) == {Cause.SCORE_ALTERED: {None}}
    assert report.verdict().endswith("(12 rows x 15 features), 1 in 12 scores")


def test_a_definition_changed_after_serving_is_named_with_both_fingerprints(shop: Shop, causes: Causes) -> None:
    ordinary_hour(shop)
    shop.define("h3 AS (RANGE BETWEEN INTERVAL 3 HOURS", "h3 AS (RANGE BETWEEN INTERVAL 4 HOURS")
    report = shop.verify()
    assert causes(report) == {Cause.DEFINITION_CHANGED: {"shop_orders_3h", "shop_most_3h", "below_most"}}
    assert "served with fingerprint" in report.mismatches[0].detail and "defined with" in report.mismatches[0].detail
    assert report.causes.total() == 3 * 12
    assert report.scores == 12  # they are of the served vectors, and still compared


def test_a_service_that_is_no_longer_defined_is_named(shop: Shop, causes: Causes) -> None:
    ordinary_hour(shop)
    shop.look_up(61)
    shop.define("small = FeatureService", "other = FeatureService")
    shop.define('name="small"', 'name="other"')
    report = shop.verify(service="small")
    assert causes(report) == {Cause.DEFINITION_CHANGED: {"orders_1d", "spend_1d", "twice"}}
    assert "no longer defined" in report.mismatches[0].detail


def stepped(x: float, steps: int) -> float:
    """`steps` DOUBLEs above a positive one."""
    (bits,) = struct.unpack("<q", struct.pack("<d", x))
    return float(struct.unpack("<d", struct.pack("<q", bits + steps))[0])


@pytest.mark.parametrize(("steps", "found"), [(1, set()), (2, {Cause.FLOAT_MARK}), (1_000_000, {Cause.VALUE_ALTERED})])
def test_a_logarithm_may_be_off_by_one_unit_in_the_last_place(shop: Shop, steps: int, found: set[Cause]) -> None:
    ordinary_hour(shop)

    def nudge(rows: list[dict[str, Any]]) -> None:
        for name in ("log_spend", "same_log"):  # the second passes the first on
            rows[3]["features"][name] = stepped(rows[3]["features"][name], steps)

    shop.change_log(nudge)
    report = shop.verify()
    assert set(report.causes) == found
    assert report.wrong_scores == 0


def test_a_number_served_for_a_value_error_is_one(shop: Shop, causes: Causes) -> None:
    shop.order(0, units=2**62)
    shop.order(1, units=2**62)
    shop.score(2)

    def wrap(rows: list[dict[str, Any]]) -> None:
        assert rows[0]["features"]["units_1d"] is None
        rows[0]["features"]["units_1d"] = -(2**63)

    shop.change_log(wrap)
    report = shop.verify()
    assert causes(report) == {Cause.VALUE_ERROR: {"units_1d"}}


def test_several_faults_do_not_hide_one_another(shop: Shop, of_feature: OfFeature) -> None:
    ordinary_hour(shop)
    shop.inject(Fault.DROP_EVENT, "customer", nth=1)
    shop.order(70, amount=100.0)
    shop.order(71, customer=2)
    shop.order(72)
    for minute in (73, 74, 75, 76):
        shop.score(minute)
    shop.change_string("orders", "shop", "b", change=lambda state: state[:-1])
    with pytest.raises(ApiError):
        shop.score(77, customer=2, shop="b")

    def perturb(rows: list[dict[str, Any]]) -> None:
        rows[12]["features"]["spend_1d"] += 1.0
        rows[13]["features"]["payments_1d"] += 1
        rows[14]["score"] += 1.0
        rows[2]["features"]["log_spend"] = stepped(rows[2]["features"]["log_spend"], 5)

    shop.change_log(perturb)
    shop.define("max(amount) OVER h3 AS shop_most_3h", "min(amount) OVER h3 AS shop_most_3h")
    report = shop.verify()
    assert set(report.causes) == {
        Cause.MISSING_EVENT, Cause.VALUE_ALTERED, Cause.DECODE_ERROR, Cause.DEFINITION_CHANGED, Cause.SCORE_ALTERED,
        Cause.FLOAT_MARK,
    }  # fmt: skip
    dropped = {m.request_id: m.cause for m in of_feature(report, "orders_1d")}
    assert list(dropped.values()) == [Cause.MISSING_EVENT] * 4
    altered = {m.feature for m in report.mismatches if m.cause == Cause.VALUE_ALTERED}
    assert altered == {"spend_1d", "payments_1d"}
    assert [m.cause for m in report.mismatches if m.feature is None].count(Cause.SCORE_ALTERED) == 1


def test_a_model_that_is_gone_is_said_and_is_no_proof(shop: Shop) -> None:
    ordinary_hour(shop)
    shop.end_service()
    shutil.rmtree(shop.space.settings.models)
    report = shop.verify()
    assert not report.ok and not report.causes
    assert sum(report.unscored.values()) == 12 and report.scores == 0
    assert report.verdict().endswith("12 scores not compared")


# --- what is no mismatch -------------------------------------------------------------------------------------------


def test_a_late_event_is_no_mismatch_and_is_reported_with_what_it_would_have_changed(shop: Shop) -> None:
    shop.order(0)
    shop.pay(1)
    shop.order(30)
    shop.score(31)
    shop.score(32, customer=2, shop="b")
    shop.order(20, amount=5.0)  # it comes behind the request, and happened before it
    shop.score(33)
    report = shop.verify()
    assert report.ok
    assert report.late_rows == 1
    assert report.late_by_feature == dict.fromkeys([*SPEND, "shop_orders_3h"], 1)


def test_rows_beyond_what_the_archive_has_flushed_are_not_yet_provable(shop: Shop) -> None:
    ordinary_hour(shop)
    shop.worker.flush()
    shop.order(61)
    shop.score(62)
    shop.score(62, customer=3, shop="c")  # its own strings are empty; what they should hold is not known yet
    shop.end_service()
    space = shop.space

    report = verify(space.project, space.archive, space.served_log, models=space.settings.models)
    assert (report.unprovable, report.rows) == (2, 12)
    assert report.verdict() == (
        "verify: 0 mismatches in 180 values (12 rows x 15 features), 2 rows not yet provable"
    )  # fmt: skip
    assert shop.verify().unprovable == 0


def test_a_refused_event_at_the_end_keeps_no_row_from_being_proved(shop: Shop) -> None:
    shop.order(0)
    shop.push("orders", b"no event")
    shop.score(1)
    report = shop.verify()
    assert (report.unprovable, report.rows) == (0, 1)


def test_rows_that_are_equal_in_every_key_and_time_are_each_verified(shop: Shop) -> None:
    shop.order(0)
    for _ in range(3):
        shop.score(1)
    assert shop.verify().rows == 3

    def perturb(rows: list[dict[str, Any]]) -> None:
        rows[1]["features"]["spend_1d"] += 1.0

    shop.change_log(perturb)
    assert shop.verify().wrong_values == 1


def test_a_null_key_counts_nothing_and_is_no_mismatch(shop: Shop) -> None:
    shop.order(0, customer=None)
    shop.order(1, shop=None)
    shop.score(2, customer=None)
    shop.score(2, shop=None)
    shop.score(2, customer=None, shop=None)
    assert shop.verify().ok


def test_a_null_key_with_an_altered_value_is_explained(shop: Shop, causes: Causes) -> None:
    shop.order(0)
    shop.score(1, customer=None)

    def perturb(rows: list[dict[str, Any]]) -> None:
        rows[0]["features"]["orders_1d"] = 1
        rows[0]["features"]["twice"] = 1.0

    shop.change_log(perturb)
    report = shop.verify()
    assert causes(report) == {Cause.VALUE_ALTERED: {"orders_1d", "twice"}}
    assert {m.detail for m in report.mismatches if m.feature == "twice"} == {"it is made of the request alone"}


def test_two_services_are_verified_together_or_one_alone(shop: Shop) -> None:
    ordinary_hour(shop)
    shop.look_up(61)
    shop.look_up(62, customer=2)
    both, one = shop.verify(), shop.verify(service="small")
    assert (both.rows, both.values, both.ok) == (14, 12 * 15 + 2 * 3, True)
    assert both.verdict() == "verify: 0 mismatches in 186 values (14 rows)"
    assert (one.rows, one.values) == (2, 6)


def test_an_older_fingerprint_is_verified_beside_a_newer_one(shop: Shop, causes: Causes) -> None:
    ordinary_hour(shop)
    shop.define("avg(amount) OVER h1 AS mean_1h", "min(amount) OVER h1 AS mean_1h")
    shop.rebuild()
    shop.order(61)
    shop.score(62)
    report = shop.verify()
    assert report.rows == 13 and report.scores == 13
    assert causes(report) == {Cause.DEFINITION_CHANGED: {"mean_1h", "ratio", "below_most"}}
    assert report.causes.total() == 3 * 12


def test_state_rebuilt_under_a_new_epoch_goes_on_being_proved(shop: Shop) -> None:
    ordinary_hour(shop)
    shop.rebuild()
    shop.order(61)
    shop.score(62)
    assert shop.verify().ok


def test_a_service_of_request_columns_alone_is_verified(shop: Shop) -> None:
    shop.define(
        "small = FeatureService",
        'plain = FeatureService(name="plain", features=[basket[["twice"]]])\nsmall = FeatureService',
    )
    body = {"service": "plain", "rows": [{"total": 4.5, "event_timestamp": "2026-01-01T00:03:00Z"}]}
    shop.ask(body)
    assert shop.verify().verdict() == "verify: 0 mismatches in 1 values (1 rows x 1 features)"


# --- many mismatches -----------------------------------------------------------------------------------------------


def test_a_search_that_may_cost_nothing_still_names_what_the_log_tells(shop: Shop) -> None:
    for minute in range(6):
        shop.order(minute)
    shop.change_string("orders", "customer", 1, change=lambda state: state[: len(state) // 2])
    shop.score(7)
    report = shop.verify(work=0)
    assert set(report.causes) == {Cause.MISSING_EVENT}


def test_rows_that_the_search_does_not_reach_take_the_cause_of_their_key(shop: Shop, of_feature: OfFeature) -> None:
    shop.inject(Fault.DROP_EVENT, "customer", nth=3)
    for minute in range(10):
        shop.order(minute)
    for minute in range(10, 40):
        shop.score(minute)
    report = shop.verify(work=5_000)
    found = of_feature(report, "orders_1d")
    assert {m.cause for m in found} == {Cause.MISSING_EVENT} and len(found) == 30
    assert sum("taken from other rows of its key" in m.detail for m in found) > 5


def test_a_search_that_is_cut_short_says_so(shop: Shop) -> None:
    ordinary_hour(shop)

    def perturb(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["features"]["spend_1d"] += 1.0

    shop.change_log(perturb)
    report = shop.verify(work=500)
    assert report.causes == {Cause.VALUE_ALTERED: 12}
    assert any(m.detail.startswith("too many mismatches") for m in report.mismatches)


def test_a_report_keeps_the_first_of_each_cause_and_counts_all() -> None:
    report = Report()
    for number in range(3_000):
        cause = Cause.DECODE_ERROR if number == 2_999 else Cause.VALUE_ALTERED
        report.add([Mismatch(str(number), "risk", "x", 1, 2, cause)], cause=cause)
    assert report.causes == {Cause.VALUE_ALTERED: 2_999, Cause.DECODE_ERROR: 1}
    assert len(report.mismatches) == 1_001
    shown = report.to_dict()["mismatches"]
    assert len(shown) <= 100 and shown[-1]["cause"] == "decode error"


# --- the command ---------------------------------------------------------------------------------------------------


def run_verify(shop: Shop, capfd: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    shop.end_service()
    shop.worker.flush()
    capfd.readouterr()
    with pytest.raises(SystemExit) as exit_:
        main(["verify", "--project", str(shop.folder), *args])
    out, err = capfd.readouterr()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, out, err


def test_the_command_exits_with_0_and_its_last_line_is_the_verdict(
    shop: Shop, capfd: pytest.CaptureFixture[str]
) -> None:
    ordinary_hour(shop)
    code, out, _ = run_verify(shop, capfd)
    assert code == 0
    assert out.splitlines()[-1] == "verify: 0 mismatches in 180 values (12 rows x 15 features)"


def test_the_command_exits_with_3_and_names_the_cause(shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
    shop.pay(0)
    shop.order(0)
    shop.inject(Fault.DROP_EVENT, "customer", nth=1)
    shop.order(1, amount=20.0)
    shop.order(2)
    shop.score(3)
    code, out, _ = run_verify(shop, capfd)
    assert code == 3
    assert "missing event" in out and "offset 1 of 'orders'" in out
    code, out, _ = run_verify(shop, capfd, "--json")
    answer = json.loads(out)
    assert code == 3
    assert answer["causes"] == {"missing event": len(SPEND) + 1} and not answer["ok"]
    spend = next(m for m in answer["mismatches"] if m["feature"] == "spend_1d")
    assert float.fromhex(spend["expected"]["bits"]) - float.fromhex(spend["served"]["bits"]) == 20.0


def test_the_command_says_that_nothing_was_served(shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = run_verify(shop, capfd, "--json")
    assert (code, out) == (2, "")
    assert json.loads(err)["error"]["code"] == "not-found"


def test_the_command_exits_with_1_where_scores_cannot_be_compared(
    shop: Shop, capfd: pytest.CaptureFixture[str]
) -> None:
    ordinary_hour(shop)
    (shop.space.settings.models / "late" / "1" / "model.onnx").write_bytes(b"no model")
    code, out, err = run_verify(shop, capfd)
    assert code == 1
    assert "12 scores were not compared" in err and out.splitlines()[-1].endswith("12 scores not compared")
