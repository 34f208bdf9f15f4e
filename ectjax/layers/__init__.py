"""The physics as a layer of other JAX models: Equinox here, Flax NNX in `ectjax.layers.flax`. See docs/layers.md."""

from ectjax.layers.corrections import Corrections as Corrections
from ectjax.layers.features import Features as Features
from ectjax.layers.features import Tables as Tables
from ectjax.layers.features import features as features
from ectjax.layers.inputs import stack_systems as stack_systems
from ectjax.layers.layer import ECTLayer as ECTLayer
from ectjax.layers.layer import trainable as trainable
from ectjax.layers.shells import RADII as RADII
