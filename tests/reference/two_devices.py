"""A program for JAX: what one device of two computes of a pretraining step, as JSON.

{"flops": of the whole step on one device and of each of two, "losses": of three steps each,
 "moves": how many operations of the program for two move features between them}
"""

import json
import os
import re

os.environ["KERAS_BACKEND"] = "jax"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import jax
import keras
import numpy as np
from keras.src.backend.jax import distribution_lib

import keras_convnextv2 as kc

IMAGES = np.random.default_rng(0).normal(size=(8, 64, 64, 3)).astype("float32")


def measured(distribution):
    keras.distribution.set_distribution(distribution)
    keras.utils.set_random_seed(0)
    # Patches of 8 to 1 positions: by windows, with blocks of channels, and by the map.
    variant = kc.Variant((1, 1, 1, 1), (16, 80, 48, 64))
    backbone = kc.ConvNeXtV2Backbone(
        variant, (64, 64, 3), stem_stride=2, drop_path_rate=0.1, seed=0
    )
    model = kc.FCMAE(backbone, decoder_width=32)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    losses = model.fit(IMAGES, batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"]
    state = model._get_jax_state(  # as `fit` does
        trainable_variables=True,
        non_trainable_variables=True,
        optimizer_variables=True,
        metrics_variables=True,
    )
    images = IMAGES
    if distribution is not None:
        layout = distribution.get_data_layout(images.shape)
        images = distribution_lib.distribute_data_input(images, layout, distribution.batch_dim_name)
    program = jax.jit(model.train_step).lower(state, (images,)).compile()
    moves = re.findall(r" (all-gather|all-to-all|collective-permute)\(", program.as_text())
    return program.cost_analysis()["flops"], losses, len(moves)


one, two = (
    measured(distribution)
    for distribution in (None, keras.distribution.DataParallel(devices=jax.devices()))
)
print(json.dumps({"flops": [one[0], two[0]], "losses": [one[1], two[1]], "moves": two[2]}))
