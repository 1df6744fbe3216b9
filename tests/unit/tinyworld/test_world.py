"""The world's truth: scenes, pictures and captions agree."""

from __future__ import annotations

import numpy as np
import pytest

from tinyworld.captions import Description, Named, caption, describe, false_descriptions, parse
from tinyworld.clips import sample_clip
from tinyworld.queries import holds, true_query
from tinyworld.render import Camera, render, sample_camera
from tinyworld.scenes import APART, COLORS, EVALUATION, LEVEL, sample_scene
from tinyworld.search_scenes import different_scenes, facts_of, one_away, search_scene


def test_scenes_keep_the_conditions_of_every_figure() -> None:
    counts = {1: 0, 2: 0, 3: 0, 4: 0}
    for number in range(80):
        scene, rendered = search_scene(3, number)
        counts[len(scene.things)] += 1
        assert rendered.image.shape == (240, 320, 3)
        assert (rendered.visible >= 1 - EVALUATION.occluded).all()
        heights = rendered.full_masks.any(axis=2).sum(axis=1) / 240
        assert ((heights > EVALUATION.smallest - 0.02) & (heights < EVALUATION.largest + 0.02)).all()
        assert len({(thing.color, thing.shape) for thing in scene.things}) == len(scene.things)
    assert set(counts.values()) == {20}


def test_masks_boxes_and_colors_are_of_the_pixels() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scene = sample_scene(rng, count=(2, 4), style="cartoon")
        rendered = render(scene, camera=sample_camera(rng), rng=rng)
        assert rendered.masks.sum(axis=0).max() == 1, "a pixel shows one thing"
        for thing, mask, box in zip(scene.things, rendered.masks, rendered.boxes, strict=True):
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            shown = np.median(rendered.image[mask], axis=0) / 255
            wanted = np.array(COLORS[thing.color]) / 255 * scene.light.tint * scene.light.gain
            assert np.abs(shown - wanted.clip(0, 1)).max() < 0.25


def test_the_same_seed_is_the_same_picture_and_noise_is_not_truth() -> None:
    scene, rendered = search_scene(1, 5)
    again = search_scene(1, 5)[1]
    assert (rendered.image == again.image).all()
    other = render(scene, rng=np.random.default_rng(99))
    assert (other.image != rendered.image).any()
    assert (other.masks == rendered.masks).all()


def test_captions_name_left_to_right_and_relate_the_first_two() -> None:
    for number in range(60):
        scene, rendered = search_scene(2, number)
        found = parse(caption(scene, rendered))
        assert str(found) == caption(scene, rendered)
        left_to_right = sorted(zip(rendered.centers[:, 0], scene.things, strict=True), key=lambda pair: pair[0])
        assert [str(name) for name in found.things] == [f"{t.color} {t.shape}" for _, t in left_to_right]
        if found.relation:
            gap = left_to_right[1][1].y - left_to_right[0][1].y
            assert abs(gap) <= LEVEL or abs(gap) >= APART
            assert found.relation == ("above" if gap >= APART else "below" if gap <= -APART else "left of")


def test_things_less_than_half_visible_are_not_named() -> None:
    scene = sample_scene(np.random.default_rng(4), count=1)
    thing = scene.things[0]
    aside = 1.1 * thing.x / (0.7 + 0.6 * thing.depth)
    outside = render(scene, camera=Camera(dx=aside), rng=np.random.default_rng(0))
    assert outside.visible[0] > 0
    assert outside.visible[0] < 0.5
    assert caption(scene, outside) == f"a {scene.style} of nothing."


@pytest.mark.parametrize("text", ["a photo of a red dog.", "a red circle", "a photo of a red circle. it is nice."])
def test_other_texts_are_not_captions(text: str) -> None:
    with pytest.raises(ValueError, match="not a caption"):
        parse(text)


def test_the_article_goes_with_the_color() -> None:
    assert str(Description("photo", (Named("orange", "ring"),))) == "a photo of an orange ring."


def test_false_captions_are_false_in_one_way_each() -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        truth = describe(*search_scene(6, number))
        wrong = false_descriptions(rng, truth)
        assert len(wrong) == (4 if truth.relation else 3)
        assert truth not in wrong
        assert {parse(str(one)) for one in wrong} == set(wrong)


def test_true_queries_hold_and_hold_no_longer_when_the_scene_is_empty() -> None:
    rng = np.random.default_rng(0)
    for number in range(100):
        one = facts_of(*search_scene(7, number % 50))
        query = true_query(rng, one.style, one.seen)
        assert holds(query, one.style, one.seen), query
        assert not query.things or not holds(query, one.style, ())


def test_half_of_the_different_scenes_are_one_word_from_another() -> None:
    pairs = different_scenes(0, 40)
    texts = [str(describe(*pair)) for pair in pairs]
    assert len(set(texts)) == 40
    rng = np.random.default_rng(0)
    near = one_away(rng, pairs[0])
    assert near is None or describe(*near) != describe(*pairs[0])
    for first, second in zip(pairs[::2], pairs[1::2], strict=True):
        a, b = describe(*first), describe(*second)
        changed = sum(x != y for x, y in zip(a.things, b.things, strict=True))
        assert changed + (a.relation != b.relation) <= 2
        assert a.style == b.style


def test_clips_keep_tracks_mark_changes_and_stand_still() -> None:
    clip = sample_clip(np.random.default_rng(5), seconds=4, fps=10, shots=2, count=3)
    frames = list(clip.frames())
    assert [frame.index for frame in frames if frame.is_change] == list(clip.changes) == [20]
    assert not set(frames[0].tracks) & set(frames[-1].tracks)
    still = [frame for frame in frames if frame.is_duplicate]
    assert still
    assert all((frame.rendered.image == frames[frame.index - 1].rendered.image).all() for frame in still)
    assert (clip.frame(7).rendered.image == frames[7].rendered.image).all(), "frames do not depend on those before"
    aside = clip.frame(7, Camera(dx=0.05, backdrop=3))
    assert aside.tracks == frames[7].tracks
    assert (aside.rendered.centers[:, 0] < frames[7].rendered.centers[:, 0]).all()


def test_signs_tell_where_they_are() -> None:
    scene = sample_scene(np.random.default_rng(8), count=1, signs=2)
    rendered = render(scene, rng=np.random.default_rng(0))
    assert rendered.sign_boxes.shape == (2, 4)
    assert {sign.kind for sign in scene.signs} <= {"forbidden", "harmless"}
    assert ((rendered.sign_boxes[:, 2:] - rendered.sign_boxes[:, :2]) > 10).all()
