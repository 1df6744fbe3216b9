"""The metrics against cases computed by hand."""

import numpy as np
import pytest

from tinyworld.metrics import Labeled, Tracked, box_iou, identity_f1, mask_iou, mean_average_precision

HERE, THERE, NEAR = (0, 0, 10, 10), (50, 50, 60, 60), (0, 0, 10, 5)


def boxes(*corners: tuple[float, ...]) -> np.ndarray:
    return np.array(corners, np.float32).reshape(-1, 4)


def test_iou_of_half_a_box_is_a_half_and_of_separate_boxes_zero() -> None:
    assert box_iou(boxes(HERE), boxes(NEAR, THERE)).tolist() == [[0.5, 0.0]]
    left, right = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    left[:, :2], right[:, :3] = True, True
    assert mask_iou(left, right) == pytest.approx(2 / 3)


def test_a_second_box_on_a_thing_costs_nothing_if_it_is_less_confident() -> None:
    truth = [Labeled(boxes(HERE), ("star",))]
    assert mean_average_precision([Labeled(boxes(HERE, HERE), ("star", "star"), (0.9, 0.8))], truth) == 1.0
    confident_miss = [Labeled(boxes(THERE, HERE), ("star", "star"), (0.9, 0.8))]
    assert mean_average_precision(confident_miss, truth) == 0.5


def test_a_wrong_label_is_a_miss_and_labels_count_equally() -> None:
    truth = [Labeled(boxes(HERE, THERE), ("star", "ring"))]
    assert mean_average_precision([Labeled(boxes(HERE, THERE), ("star", "cross"), (0.9, 0.9))], truth) == 0.5


def test_confidence_orders_over_pictures() -> None:
    truth = [Labeled(boxes(HERE), ("star",)), Labeled(boxes(HERE), ("star",))]
    found = [Labeled(boxes(HERE), ("star",), (0.6,)), Labeled(boxes(THERE), ("star",), (0.7,))]
    assert mean_average_precision(found, truth) == pytest.approx(0.25)  # half the truth, at a precision of a half


def test_no_truth_is_no_figure() -> None:
    with pytest.raises(ValueError, match="no picture has a true box"):
        mean_average_precision([Labeled(boxes(), ())], [Labeled(boxes(), ())])


def test_stable_identities_give_one_and_a_swap_gives_a_half() -> None:
    truth = [Tracked(boxes(HERE, THERE), ("a", "b"))] * 4
    assert identity_f1([Tracked(boxes(HERE, THERE), (7, 8))] * 4, truth) == 1.0
    swapped = [Tracked(boxes(HERE, THERE), (7, 8))] * 2 + [Tracked(boxes(HERE, THERE), (8, 7))] * 2
    assert identity_f1(swapped, truth) == 0.5


def test_a_track_that_restarts_loses_its_shorter_part() -> None:
    truth = [Tracked(boxes(HERE), ("a",))] * 4
    broken = [Tracked(boxes(HERE), (1,))] * 3 + [Tracked(boxes(HERE), (2,))]
    assert identity_f1(broken, truth) == 0.75


def test_missed_boxes_and_false_boxes_both_cost() -> None:
    truth = [Tracked(boxes(HERE), ("a",))] * 2
    found = [Tracked(boxes(HERE), (1,)), Tracked(boxes(THERE), (1,))]
    assert identity_f1(found, truth) == 0.5
