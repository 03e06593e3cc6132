import json
import sys
import types
import warnings

import numpy as np
import pytest
from PIL import Image

from keras_convnextv2.analysis.curves import DrawCurves, draw_curves, panels_of, read_metrics

pytestmark = pytest.mark.one_backend


def line(epoch, **values):
    return json.dumps({"epoch": epoch, "step": 10 * epoch, "seconds": 1.0, **values}) + "\n"


def test_lines_are_read_in_order_and_the_later_of_two_counts(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        line(1, loss=3.0) + line(2, loss=2.0) + line(3, loss=9.0) + line(2, loss=1.5) + '{"epoch": '
    )
    assert [(values["epoch"], values["loss"]) for values in read_metrics(path)] == [
        (1, 3.0),
        (2, 1.5),
        (3, 9.0),
    ]


def test_curves_of_a_kind_share_a_panel():
    epochs = [
        {
            "epoch": epoch,
            "step": epoch,
            "seconds": 2.0,
            "learning_rate": 0.1,
            "images_per_second": 50.0,
            "loss": 1.0 / epoch,
            "val_loss": float("nan") if epoch == 2 else 2.0,
            "accuracy": 0.5,
            "val_accuracy": 0.5,
            "val_negative_log_likelihood": 1.5,
            "val_brier_score": 0.5,
            "val_expected_calibration_error": 0.25,
            "gradient_norm": 3.0,
            "teacher_deviation": 0.5,
            **({"probe_ridge": 0.25, "probe_knn": 0.5} if epoch == 3 else {}),
        }
        for epoch in (1, 2, 3)
    ]
    panels = panels_of(epochs)
    assert {title: sorted(curves) for title, curves in panels.items()} == {
        "loss": ["loss", "val_loss", "val_negative_log_likelihood"],
        "accuracy": ["accuracy", "val_accuracy"],
        "calibration": ["val_brier_score", "val_expected_calibration_error"],
        "probes": ["probe_knn", "probe_ridge"],
        "teacher's deviation": ["teacher_deviation"],
        "gradient norm": ["gradient_norm"],
        "learning rate": ["learning_rate"],
        "images/s": ["images_per_second"],
    }
    assert panels["loss"]["val_loss"] == ([1, 3], [2.0, 2.0])  # what is not finite is left out
    assert panels["probes"]["probe_knn"] == ([3], [0.5])


def test_the_picture_shows_what_changed(tmp_path):
    pixels = []
    for last in (1.0, 2.0):
        (tmp_path / "metrics.jsonl").write_text(line(1, loss=3.0) + line(2, loss=last))
        draw_curves(tmp_path / "metrics.jsonl", tmp_path / "curves.png")
        with Image.open(tmp_path / "curves.png") as picture:
            assert picture.format == "PNG"
            pixels.append(np.asarray(picture))
    assert pixels[0].shape == pixels[1].shape and (pixels[0] != pixels[1]).any()
    assert (tmp_path / "curves.png").stat().st_size < 60_000
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="no epoch"):
        draw_curves(tmp_path / "metrics.jsonl", tmp_path / "curves.png")


def test_a_run_goes_on_without_its_picture(tmp_path, monkeypatch):
    (tmp_path / "metrics.jsonl").write_text(line(1, loss=3.0))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # as where it is not installed
    with pytest.raises(ModuleNotFoundError, match=r"keras-convnextv2\[recipes\]"):
        draw_curves(tmp_path / "metrics.jsonl", tmp_path / "curves.png")
    callback = DrawCurves(tmp_path / "metrics.jsonl", tmp_path / "curves.png")
    with pytest.warns(UserWarning, match="curves could not be drawn.*matplotlib"):
        callback.on_epoch_end(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        callback.on_train_end()  # once is enough
    monkeypatch.undo()
    callback.on_train_end()
    assert (tmp_path / "curves.png").is_file()


def test_short_epochs_are_passed_over_but_the_end_is_drawn(tmp_path, monkeypatch):
    from keras_convnextv2.analysis import curves

    drawn = []
    clock = iter([0.0, 0.0, 1.0, 10.0, 20.5, 20.5, 21.0, 22.0, 23.0]).__next__
    monkeypatch.setattr(curves, "time", types.SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(curves, "draw_curves", lambda *paths: drawn.append(paths))
    callback = DrawCurves("metrics.jsonl", "curves.png")
    callback.on_epoch_end(0)  # at 0, took 1: not before 20
    callback.on_epoch_end(1)  # at 10
    assert len(drawn) == 1
    callback.on_epoch_end(2)  # at 20.5
    assert len(drawn) == 2
    callback.on_train_end()
    assert len(drawn) == 3
