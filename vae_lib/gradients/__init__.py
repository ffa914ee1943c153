r"""The same gradient by many roads: estimators of :math:`\nabla_\phi` of a bound, sample by sample.

Here q is one distribution for one x: a Gaussian with `mean` and `log_var`, or a categorical with
`logits`, whose samples are one-hot. You hand over ln p(x, z) as a function of z. Each estimator
returns one gradient per sample, so that bias (the mean against the exact gradient) and noise (the
variance) can be measured.

==========================  ===========  ===========  ========================================
estimator                   q            gradient of  remarks
==========================  ===========  ===========  ========================================
`pathwise`                  Gaussian     ELBO         unbiased
`pathwise_analytic_kl`      Gaussian     ELBO         unbiased; standard normal prior
`sticking_the_landing`      Gaussian     ELBO         unbiased; no noise at the exact posterior;
                                                      biased for L_k, k > 1
`score_function`            both         ELBO         unbiased; needs no derivative of ln p
`iwae_pathwise`             Gaussian     L_k          unbiased; drowns in noise as k grows
`dreg`                      Gaussian     L_k          unbiased; does not
`vimco`                     both         L_k          unbiased; needs no derivative of ln p
`gumbel_softmax`            categorical  no bound     **biased**; see `relaxed_objective`
==========================  ===========  ===========  ========================================

`GaussianGradient` and `CategoricalGradient` are what comes back. Every function takes a
`torch.Generator`; the same seed gives the same gradients.
"""

from vae_lib.gradients.multiple import dreg, iwae_pathwise, vimco
from vae_lib.gradients.posterior import CategoricalGradient, GaussianGradient
from vae_lib.gradients.relaxed import gumbel_softmax, relaxed_objective
from vae_lib.gradients.reparametrised import pathwise, pathwise_analytic_kl, sticking_the_landing
from vae_lib.gradients.score import score_function

__all__ = [
    "CategoricalGradient",
    "GaussianGradient",
    "dreg",
    "gumbel_softmax",
    "iwae_pathwise",
    "pathwise",
    "pathwise_analytic_kl",
    "relaxed_objective",
    "score_function",
    "sticking_the_landing",
    "vimco",
]
