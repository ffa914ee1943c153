r"""Encoders, decoders, and builders that put them together into a ready `VAE`.

`mlp_vae` is the model of the chapters, `conv_vae` the one for larger images; `linear_vae` is the
one whose best answer is known on paper, and `linear_gaussian_model` reads that answer off.
`set_output_bias` gives any of them a better start. All are made of the same few pieces, which you
can also put together yourself: an encoder is a network and a posterior, a decoder is a network and
a likelihood::

    posterior = FullCovariance(latent=2)
    encoder = Encoder(mlp(64, (128,), posterior.features), posterior)
    decoder = Decoder(mlp(2, (128,), 64), Bernoulli())
    model = VAE(encoder, decoder)

The pieces are `Encoder`, `Decoder` and `mlp`; `GaussianEncoder` and `LinearEncoder` for two special
cases; `conv_encoder_network` and `conv_decoder_network` for images; `bounded_log_var` for the
log-variances.
"""

from vae_lib.networks.builders import conv_vae, mlp_vae
from vae_lib.networks.coders import Decoder, Encoder, GaussianEncoder
from vae_lib.networks.convolutional import conv_decoder_network, conv_encoder_network
from vae_lib.networks.linear import LinearEncoder, linear_gaussian_model, linear_vae
from vae_lib.networks.output_bias import set_output_bias
from vae_lib.networks.perceptron import mlp
from vae_lib.posteriors import bounded_log_var

__all__ = [
    "Decoder",
    "Encoder",
    "GaussianEncoder",
    "LinearEncoder",
    "bounded_log_var",
    "conv_decoder_network",
    "conv_encoder_network",
    "conv_vae",
    "linear_gaussian_model",
    "linear_vae",
    "mlp",
    "mlp_vae",
    "set_output_bias",
]
