"""Linear decoder, Gaussian noise: probabilistic PCA and the linear VAE in closed form."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import MultivariateNormal

from vae_lib import _require
from vae_lib._gaussian import log_density
from vae_lib.divergences import kl_diagonal_gaussian
from vae_lib.laboratory._gaussian import log_normal
from vae_lib.laboratory._tables import table

__all__ = ["LinearGaussianModel"]


class LinearGaussianModel:
    r"""A VAE whose decoder is linear: evidence, posterior, ELBO and gap are known exactly.

    .. math:: z \sim N(0, I_q), \quad x|z \sim N(W z + b, \sigma^2 I_D)
              \qquad\Rightarrow\quad x \sim N(b, W W^\top + \sigma^2 I_D)

    Everything below uses the small matrix :math:`M = W^\top W + \sigma^2 I_q`; no D-by-D matrix is
    ever built. Values are in nats, one per example. Gradients flow through every method.

    Args:
        weight: W, (D, q). Lists become float64.
        bias: b, (D,).
        variance: sigma squared, a positive number.

    Raises:
        ValueError: the shapes or precisions do not fit, a value is NaN or infinite, or the variance
            is not positive.

    Book: chapter 7 (the exactly solvable VAE), chapter 8 (a linear VAE). Source: Tipping and
    Bishop (1999); Lucas et al. (2019) for the ELBO.

    Example:
        >>> weight = x = torch.ones(1, 1, dtype=torch.float64)
        >>> model = LinearGaussianModel(weight, torch.zeros_like(weight[0]), variance=0.25)
        >>> model.log_evidence(x)
        tensor([-1.4305], dtype=torch.float64)
        >>> model.elbo(x, *model.best_encoder()) + model.gap()
        tensor([-1.4305], dtype=torch.float64)
    """

    def __init__(
        self,
        weight: Float[Tensor, "pixels latent"] | Sequence[Sequence[float]],
        bias: Float[Tensor, " pixels"] | Sequence[float],
        variance: float | int | Float[Tensor, ""],
    ) -> None:
        weight, bias = table("weight", weight), table("bias", bias)
        _require.floating("weight", weight)
        _require.shape("weight", weight, (None, None), "(D, q)")
        if weight.numel() == 0:
            raise ValueError(f"weight has shape {tuple(weight.shape)}; wanted D and q of at least 1")
        pixels = weight.shape[0]
        _require.shape("bias", bias, (pixels,), f"(D,) = ({pixels},), the rows of weight")
        if bias.dtype != weight.dtype:
            raise ValueError(f"bias has dtype {bias.dtype}; wanted that of weight, {weight.dtype}")
        _require.finite("weight", weight)
        _require.finite("bias", bias)
        _require.positive_number("variance", variance)
        self.weight = weight
        self.bias = bias
        self.variance = torch.as_tensor(variance, dtype=weight.dtype, device=weight.device)

    @classmethod
    def fit(cls, x: Float[Tensor, "batch pixels"], latent_dim: int) -> "LinearGaussianModel":
        r"""The maximum-likelihood model: probabilistic PCA.

        With eigenvalues :math:`\lambda_1 \ge \dots \ge \lambda_D` of the covariance of x (divided
        by N, not N - 1) and the first q eigenvectors as columns of U,

        .. math:: \sigma^2 = \frac{1}{D - q} \sum_{j > q} \lambda_j, \qquad
                  W = U (\Lambda_q - \sigma^2 I)^{1/2}, \qquad b = \bar x

        Any rotation of W has the same likelihood. This W has orthogonal columns, so the ELBO of the
        linear VAE is tight for it. The largest entry of each column is positive.

        Args:
            x: (N, D), in float64 if you want its precision.
            latent_dim: q, from 1 to D - 1.

        Raises:
            ValueError: x is not a finite (N, D) table of at least two rows, latent_dim is out of
                range, or the data lie in q dimensions so that the variance is zero.

        Book: chapter 7 (the best parameters). Source: Tipping and Bishop (1999), section 3.

        Example:
            >>> x = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
            >>> model = LinearGaussianModel.fit(x, latent_dim=1)
            >>> model.variance
            tensor(0.5000)
            >>> model.weight.square().sum()                     # 2.0 - 0.5
            tensor(1.5000)
        """
        _require.floating("x", x)
        _require.shape("x", x, (None, None), "(N, D)")
        _require.finite("x", x)
        count, pixels = x.shape
        if count < 2:
            raise ValueError(f"x has shape {tuple(x.shape)}; wanted at least two rows")
        _require.positive_integer("latent_dim", latent_dim)
        if latent_dim >= pixels:
            raise ValueError(f"latent_dim is {latent_dim}; wanted less than D = {pixels}")
        bias = x.mean(0)
        centred = x - bias
        eigenvalues, eigenvectors = torch.linalg.eigh(centred.T @ centred / count)  # ascending
        variance = eigenvalues[: pixels - latent_dim].mean()
        if variance <= eigenvalues[-1] * torch.finfo(x.dtype).eps * pixels:
            raise ValueError(
                f"x varies in no more than latent_dim = {latent_dim} directions, so the fitted "
                "variance is 0 and the likelihood unbounded; wanted fewer latents or more data"
            )
        kept = eigenvalues[pixels - latent_dim :].flip(0)
        axes = eigenvectors[:, pixels - latent_dim :].flip(1)  # (D, q), largest first
        largest = axes.abs().argmax(0, keepdim=True)
        axes = axes * axes.gather(0, largest).sign()
        return cls(axes * (kept - variance).sqrt(), bias, variance)

    def __repr__(self) -> str:
        pixels, latent = self.weight.shape
        return f"LinearGaussianModel(D={pixels}, q={latent}, variance={self.variance.item():.4g})"

    def log_likelihood(
        self, x: Float[Tensor, "batch pixels"], z: Float[Tensor, "points latent"]
    ) -> Float[Tensor, "points batch"]:
        r"""ln p(x|z) for every z and every x; the function that `grid_log_evidence` asks for.

        Args:
            x: (batch, D).
            z: (points, q).

        Raises:
            ValueError: x or z has another shape or holds NaN.

        Example:
            >>> model = LinearGaussianModel(torch.ones(2, 1), torch.zeros(2), 1.0)
            >>> model.log_likelihood(torch.zeros(3, 2), torch.zeros(5, 1)).shape
            torch.Size([5, 3])
        """
        self._check_data(x)
        pixels, latent = self.weight.shape
        _require.shape("z", z, (None, latent), f"(points, q) with q = {latent}")
        if z.dtype != self.weight.dtype:
            raise ValueError(f"z has dtype {z.dtype}; wanted that of the model, {self.weight.dtype}")
        _require.finite("z", z)
        error = (x - self.bias) - (z @ self.weight.T).unsqueeze(1)  # (points, batch, D)
        return log_normal(error.square().sum(-1), self.variance, pixels)

    def log_evidence(self, x: Float[Tensor, "batch pixels"]) -> Float[Tensor, " batch"]:
        r"""ln p(x), with the determinant lemma and Woodbury's identity.

        .. math:: \ln \det C = (D - q) \ln \sigma^2 + \ln \det M, \qquad
                  y^\top C^{-1} y = \frac{\|y\|^2 - y^\top W M^{-1} W^\top y}{\sigma^2}

        with :math:`C = W W^\top + \sigma^2 I` and :math:`y = x - b`. Both are read off the
        orthogonal factors of W on top of :math:`\sigma I`: nothing cancels when :math:`\sigma` is small.

        Args:
            x: (batch, D).

        Raises:
            ValueError: x has another shape or holds NaN.

        Book: chapter 7 (the evidence).

        Example:
            >>> model = LinearGaussianModel(torch.zeros(2, 1), torch.zeros(2), 1.0)
            >>> model.log_evidence(torch.zeros(1, 2))           # the standard normal in 2-D
            tensor([-1.8379])
        """
        self._check_data(x)
        pixels, latent = self.weight.shape
        orthogonal, factor = self._factors()
        upper, lower = orthogonal.split([pixels, latent])
        y = x - self.bias
        code = y @ upper  # (batch, q)
        # the square of a difference: the difference of squares would lose what a small variance needs
        error = (y - code @ upper.T).square().sum(-1) + (code @ lower.T).square().sum(-1)
        distance = error / self.variance
        log_det = (pixels - latent) * self.variance.log() + 2 * factor.diagonal().log().sum()
        return log_density(distance, log_det, dims=pixels)

    def posterior(self, x: Float[Tensor, "batch pixels"]) -> MultivariateNormal:
        r"""p(z|x), one Gaussian for each x; all have the same covariance.

        .. math:: z|x \sim N(M^{-1} W^\top (x - b), \; \sigma^2 M^{-1})

        Args:
            x: (batch, D).

        Returns:
            A distribution with batch shape (batch,) and event shape (q,).

        Raises:
            ValueError: x has another shape, no rows, or holds NaN.

        Book: chapter 7 (the posterior).

        Example:
            >>> model = LinearGaussianModel(torch.ones(1, 1), torch.zeros(1), 1.0)
            >>> p = model.posterior(torch.ones(1, 1))
            >>> p.mean, p.variance
            (tensor([[0.5000]]), tensor([[0.5000]]))
        """
        self._check_data(x)
        if not len(x):  # torch makes no empty batch of these
            raise ValueError(f"x has shape {tuple(x.shape)}; wanted at least one example")
        orthogonal, factor = self._factors()
        mean = (x - self.bias) @ self._mean_weight(orthogonal, factor).T  # (batch, q)
        root = torch.linalg.solve_triangular(factor, self._eye(), upper=False)  # root root^T = M^-1
        return MultivariateNormal(mean, scale_tril=self.variance.sqrt() * root)

    def elbo(
        self,
        x: Float[Tensor, "batch pixels"],
        encoder_weight: Float[Tensor, "latent pixels"],
        encoder_variance: Float[Tensor, " latent"],
        beta: float | int = 1.0,
    ) -> Float[Tensor, " batch"]:
        r"""The ELBO of the linear encoder q(z|x) = N(V (x - b), diag d), without sampling.

        .. math:: -\frac{D}{2} \ln 2 \pi \sigma^2
                  - \frac{\|y - W V y\|^2 + \sum_j d_j \|w_j\|^2}{2 \sigma^2}
                  \qquad - \frac{\beta}{2} \sum_j \left[ (V y)_j^2 + d_j - 1 - \ln d_j \right]

        with :math:`y = x - b` and :math:`w_j` the columns of W.

        Args:
            x: (batch, D).
            encoder_weight: V, (q, D).
            encoder_variance: d, (q,): **variances**, all positive.
            beta: the weight of the KL term; only 1 (or more) gives a lower bound on ln p(x).

        Raises:
            ValueError: a shape does not fit, a variance is not positive, beta is negative, or x
                holds NaN.

        Book: chapter 7 (the best encoder). Source: Lucas et al. (2019).

        Example:
            >>> model = LinearGaussianModel(torch.zeros(2, 1), torch.zeros(2), 1.0)
            >>> model.elbo(torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1))
            tensor([-1.8379])
        """
        self._check_data(x)
        pixels, latent = self.weight.shape
        _require.shape(
            "encoder_weight",
            encoder_weight,
            (latent, pixels),
            f"(q, D) = ({latent}, {pixels}), the shape of the decoder's weight transposed",
        )
        _require.finite("encoder_weight", encoder_weight)
        _require.shape("encoder_variance", encoder_variance, (latent,), f"(q,) = ({latent},)")
        _require.positive("encoder_variance", encoder_variance)
        _require.finite("encoder_variance", encoder_variance)
        for name, value in (("encoder_weight", encoder_weight), ("encoder_variance", encoder_variance)):
            if value.dtype != self.weight.dtype:
                raise ValueError(f"{name} has dtype {value.dtype}; wanted that of the model, {x.dtype}")
        _require.number_within("beta", beta, lowest=0.0)
        y = x - self.bias
        code = y @ encoder_weight.T  # (batch, q)
        noise = (self.weight.square().sum(0) * encoder_variance).sum()
        error = (y - code @ self.weight.T).square().sum(-1)
        reconstruction = log_normal(error + noise, self.variance, pixels)
        rate = kl_diagonal_gaussian(mean=code, log_var=encoder_variance.log().expand_as(code))
        return reconstruction - beta * rate

    def best_encoder(
        self, beta: float | int = 1.0
    ) -> tuple[Float[Tensor, "latent pixels"], Float[Tensor, " latent"]]:
        r"""The linear encoder with the highest ELBO, for any decoder weight.

        .. math:: V = (W^\top W + \beta \sigma^2 I)^{-1} W^\top, \qquad
                  d_j = \frac{\beta \sigma^2}{\|w_j\|^2 + \beta \sigma^2}

        The variances are the **inverses of the posterior precisions**, not the posterior's marginal
        variances: a diagonal Gaussian that minimises KL(q ‖ p) is narrower than the marginals.

        Args:
            beta: the weight of the KL term in the ELBO that is maximised.

        Returns:
            encoder_weight V (q, D) and encoder_variance d (q,).

        Raises:
            ValueError: beta is not positive.

        Book: chapter 7 (the best encoder). Source: Lucas et al. (2019).

        Example:
            >>> model = LinearGaussianModel(torch.ones(1, 1), torch.zeros(1), 1.0)
            >>> model.best_encoder()
            (tensor([[0.5000]]), tensor([0.5000]))
        """
        _require.positive_number("beta", beta)
        orthogonal, factor = self._factors(beta)
        return self._mean_weight(orthogonal, factor), beta * self.variance / factor.square().sum(0)

    def gap(self) -> Float[Tensor, ""]:
        r"""ln p(x) minus the ELBO of the best linear encoder: the same for every x.

        .. math:: \tfrac12 \left( \sum_j \ln M_{jj} - \ln \det M \right) \ge 0

        by Hadamard's inequality; zero exactly when the columns of W are orthogonal. Rotating W
        leaves ln p(x) alone and moves this gap, which is why ELBO training picks the principal
        axes.

        Returns:
            A single number, nats.

        Book: chapter 7 (the Hadamard gap). Source: Lucas et al. (2019).

        Example:
            >>> weight = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
            >>> LinearGaussianModel(weight, torch.zeros(2), 1.0).gap()
            tensor(0.0912)
        """
        _, factor = self._factors()
        return 0.5 * factor.square().sum(0).log().sum() - factor.diagonal().log().sum()

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n pixels"]:
        """Draw x from the model: z from the prior, then x from p(x|z), noise included.

        Args:
            n: how many, at least 1.
            generator: the source of randomness; torch's global one by default.

        Raises:
            ValueError: n is below 1.

        Example:
            >>> LinearGaussianModel(torch.ones(3, 1), torch.zeros(3), 1.0).sample(5).shape
            torch.Size([5, 3])
        """
        return self.sample_joint(n, generator)[0]

    def sample_joint(
        self, n: int, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "n pixels"], Float[Tensor, "n latent"]]:
        """Draw z from the prior and x from p(x|z), and keep both.

        Args:
            n: how many pairs, at least 1.
            generator: the source of randomness; torch's global one by default.

        Returns:
            x (n, D) and z (n, q). Given x, its z is one exact draw from the posterior, so the model
            can be bounded from above on its own data (`vae_lib.bounds.eubo`).

        Raises:
            ValueError: n is below 1.

        Example:
            >>> x, z = LinearGaussianModel(torch.ones(3, 1), torch.zeros(3), 1.0).sample_joint(5)
            >>> x.shape, z.shape
            (torch.Size([5, 3]), torch.Size([5, 1]))
        """
        _require.positive_integer("n", n)
        pixels, latent = self.weight.shape
        dtype, device = self.weight.dtype, self.weight.device
        z = torch.randn(n, latent, generator=generator, dtype=dtype, device=device)
        noise = torch.randn(n, pixels, generator=generator, dtype=dtype, device=device)
        return z @ self.weight.T + self.bias + self.variance.sqrt() * noise, z

    def _factors(self, beta: float | int = 1.0) -> tuple[Tensor, Tensor]:
        """Orthonormal Q (D + q, q) and lower L (q, q) with Q L = W on top of sqrt(beta) sigma I.

        L^T L is M, which is never built: squaring W would lose a small variance beside it.
        """
        noise = (beta * self.variance).sqrt() * self._eye()
        # QR of the columns in reverse order, turned round: a lower triangle in place of an upper one
        orthogonal, factor = torch.linalg.qr(torch.cat([self.weight, noise]).flip(1))
        orthogonal, factor = orthogonal.flip(1), factor.flip(0, 1)
        sign = factor.diagonal().sign()
        return orthogonal * sign, factor * sign.unsqueeze(-1)

    def _mean_weight(self, orthogonal: Tensor, factor: Tensor) -> Tensor:
        """M^-1 W^T, (q, D): what x - b is multiplied by to give the mean of z."""
        upper = orthogonal[: self.weight.shape[0]]  # (D, q)
        return torch.linalg.solve_triangular(factor, upper.T, upper=False)

    def _eye(self) -> Tensor:
        return torch.eye(self.weight.shape[1], dtype=self.weight.dtype, device=self.weight.device)

    def _check_data(self, x: Tensor) -> None:
        pixels = self.weight.shape[0]
        _require.shape("x", x, (None, pixels), f"(batch, D) with D = {pixels}")
        if x.dtype != self.weight.dtype:
            raise ValueError(f"x has dtype {x.dtype}; wanted that of the model, {self.weight.dtype}")
        _require.finite("x", x)
