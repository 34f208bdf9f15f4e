"""Embedding functions: Daw's density functional form, Baskes' analytic form, and their tables.

Atomic units throughout."""

from ectjax.embedding.analytic import baskes_combination as baskes_combination
from ectjax.embedding.analytic import baskes_projection as baskes_projection
from ectjax.embedding.baskes import BaskesParameters as BaskesParameters
from ectjax.embedding.baskes import baskes as baskes
from ectjax.embedding.concordance import Concordance as Concordance
from ectjax.embedding.concordance import concordance as concordance
from ectjax.embedding.daw import COMPONENTS as COMPONENTS
from ectjax.embedding.daw import daw_components as daw_components
from ectjax.embedding.table import EmbeddingTable as EmbeddingTable
from ectjax.embedding.table import background_knots as background_knots
from ectjax.embedding.table import combine as combine
from ectjax.embedding.table import component_values as component_values
