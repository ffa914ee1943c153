"""Bits back: exact accounting, and a coder whose messages are measured and read again."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_lib.laboratory import BitsBackCoder, DiscreteLatentModel, bits_back
from vae_lib.laboratory.ans import decode_symbol, encode_symbol, whole_frequencies

SEEDS = st.integers(0, 10**6)
TABLES = st.lists(st.integers(0, 1000), min_size=1, max_size=8).filter(any).map(tuple)


def random_case(seed: int, latents: int = 3, symbols: int = 5):
    rng = np.random.default_rng(seed)
    prior = torch.tensor(rng.dirichlet(np.ones(latents)))
    likelihood = torch.tensor(rng.dirichlet(np.ones(symbols), size=latents))
    q = torch.tensor(rng.dirichlet(np.ones(latents), size=symbols))
    return DiscreteLatentModel(prior, likelihood), q


class TestAccounting:
    def test_by_hand_in_powers_of_two(self):
        prior = [Fraction(1, 2), Fraction(1, 2)]
        half, quarter = Fraction(1, 2), Fraction(1, 4)
        likelihood = [[half, quarter, quarter], [quarter, half, quarter]]
        q = [[Fraction(3, 4), Fraction(1, 4)], [Fraction(1, 2), Fraction(1, 2)], [Fraction(1), Fraction(0)]]
        model = DiscreteLatentModel([0.5, 0.5], [[float(p) for p in row] for row in likelihood])
        length = bits_back(model, torch.tensor([[float(p) for p in row] for row in q], dtype=torch.float64))
        share = [sum(p * row[x] for p, row in zip(prior, likelihood, strict=True)) for x in range(3)]
        two_part = sum(
            share[x] * q[x][z] * -int(math.log2(prior[z] * likelihood[z][x]))
            for x in range(3)
            for z in range(2)
        )
        refund = float(share[0]) * (2 - 0.75 * math.log2(3)) + float(share[1])
        assert length.two_part.item() == pytest.approx(float(two_part), abs=1e-14)
        assert length.refund.item() == pytest.approx(refund, abs=1e-14)
        assert length.net.item() == pytest.approx(float(two_part) - refund, abs=1e-14)

    @settings(max_examples=30)
    @given(SEEDS, st.integers(1, 5), st.integers(1, 7))
    def test_the_three_ways_agree(self, seed, latents, symbols):
        # teaching.md 6.7 M9: net length = H(x) + KL, to 2e-16 there
        model, q = random_case(seed, latents, symbols)
        length = bits_back(model, q)
        assert (length.net - length.entropy - length.excess).abs() < 1e-12
        assert (length.net - length.two_part + length.refund).abs() < 1e-12
        # one choice after another, log base 2 throughout
        p, table = model.prior.numpy(), model.likelihood.numpy()
        evidence = p @ table
        net = sum(
            evidence[x] * q[x, z].item() * math.log2(q[x, z].item() / (p[z] * table[z, x]))
            for x in range(symbols)
            for z in range(latents)
        )
        assert length.net.item() == pytest.approx(net, abs=1e-12)
        assert length.entropy.item() == pytest.approx(-(evidence * np.log2(evidence)).sum(), abs=1e-12)
        assert length.excess >= -1e-12
        assert length.refund >= 0

    def test_the_exact_posterior_wastes_nothing_and_the_naive_code_does(self):
        model, _ = random_case(1)
        length = bits_back(model, model.posterior(torch.arange(5)))
        assert length.net.item() == pytest.approx(length.entropy.item(), abs=1e-12)
        assert length.two_part > length.entropy + 0.3

    def test_symbols_that_never_occur_do_not_count(self):
        model = DiscreteLatentModel([0.5, 0.5], [[0.5, 0.5, 0.0], [0.2, 0.8, 0.0]])
        small = DiscreteLatentModel([0.5, 0.5], [[0.5, 0.5], [0.2, 0.8]])
        q = torch.tensor([[0.3, 0.7], [0.6, 0.4], [1.0, 0.0]], dtype=torch.float64)
        for a, b in zip(bits_back(model, q), bits_back(small, q[:2]), strict=True):
            assert a.item() == pytest.approx(b.item(), abs=1e-14)

    def test_an_impossible_proposal_costs_infinitely_much(self):
        model = DiscreteLatentModel([0.5, 0.5], [[1.0, 0.0], [0.5, 0.5]])
        length = bits_back(model, torch.full((2, 2), 0.5, dtype=torch.float64))
        assert length.net.item() == length.two_part.item() == math.inf
        assert length.entropy.isfinite()


class TestStack:
    @settings(max_examples=200)
    @given(st.integers(0, 2**200), TABLES)
    def test_push_undoes_pop_for_every_stack_and_table(self, stack, table):
        symbol, rest = decode_symbol(stack, table)
        assert table[symbol] > 0
        assert encode_symbol(rest, symbol, table) == stack

    @settings(max_examples=200)
    @given(st.integers(0, 2**200), TABLES, st.data())
    def test_pop_undoes_push(self, stack, table, data):
        symbol = data.draw(st.sampled_from([i for i, share in enumerate(table) if share]))
        assert decode_symbol(encode_symbol(stack, symbol, table), table) == (symbol, stack)

    def test_a_push_adds_the_information_of_the_symbol(self):
        table, stack = (5, 0, 2, 1), 1 << 64
        for symbol in (0, 2, 3):
            grown = math.log2(encode_symbol(stack, symbol, table)) - 64
            assert grown == pytest.approx(math.log2(8 / table[symbol]), abs=1e-12)

    def test_pops_from_random_bits_are_draws(self):
        rng, table, n = random.Random(0), (5, 0, 2, 1), 15_000
        stack, counts = rng.getrandbits(4 * n), [0] * 4
        for _ in range(n):
            symbol, stack = decode_symbol(stack, table)
            counts[symbol] += 1
        for count, share in zip(counts, table, strict=True):
            p = share / 8
            assert abs(count / n - p) <= 5 * math.sqrt(p * (1 - p) / n)

    def test_what_rounding_leaves_over_is_spread(self):
        shares = whole_frequencies(torch.full((7,), 1 / 7, dtype=torch.float64), 16)
        assert sorted(shares) == [2, 2, 2, 2, 2, 3, 3]  # 2.29 each: no symbol is off by more than 1
        shares = whole_frequencies(torch.full((9,), 1 / 9, dtype=torch.float64), 16)
        assert sorted(shares) == [1, 1, 2, 2, 2, 2, 2, 2, 2]  # 1.78 each

    @settings(max_examples=100)
    @given(SEEDS, st.integers(1, 12), st.sampled_from([16, 256, 65536]))
    def test_whole_frequencies(self, seed, symbols, total):
        rng = np.random.default_rng(seed)
        p = rng.dirichlet(np.full(symbols, 0.3)) * (rng.random(symbols) < 0.8)
        p = p / p.sum() if p.sum() else np.eye(symbols)[0]
        shares = np.array(whole_frequencies(torch.tensor(p), total))
        assert shares.sum() == total
        assert ((shares > 0) == (p > 0)).all()
        assert (np.abs(shares - p * total) <= 1 + (p * total < 1).sum()).all()

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: whole_frequencies(torch.full((9,), 1 / 9), 8), "total is 8; wanted at least the number"),
            (lambda: whole_frequencies(torch.tensor([0.5, 0.6]), 8), "probabilities holds a row that sums"),
            (lambda: whole_frequencies(torch.tensor([1.0]), 0), "total is 0"),
            (lambda: whole_frequencies(torch.ones(2, 1), 8), r"probabilities has shape \(2, 1\)"),
            (lambda: encode_symbol(1, 1, (1, 0)), "symbol is 1, whose frequency is 0"),
            (lambda: encode_symbol(1, 2, (1, 1)), "symbol is 2"),
            (lambda: encode_symbol(-1, 0, (1,)), "stack is -1; wanted a whole number of at least 0"),
            (lambda: decode_symbol(-1, (1,)), "stack is -1"),
            (lambda: decode_symbol(1, (0, 0)), r"frequencies is \(0, 0\); wanted at least one above 0"),
        ],
    )
    def test_refuses(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()


class TestCoder:
    @settings(max_examples=40)
    @given(SEEDS, st.integers(1, 5), st.integers(1, 6), st.integers(1, 2**80))
    def test_every_message_comes_back_and_so_do_the_bits_before_it(self, seed, latents, symbols, start):
        model, q = random_case(seed, latents, symbols)
        x = torch.tensor(np.random.default_rng(seed).integers(0, symbols, 30))
        coder = BitsBackCoder(model, q)
        decoded, stack = coder.decode(coder.encode(x, start), 30)
        assert (decoded == x).all()
        assert decoded.dtype == torch.int64
        assert stack == start

    # the codes z of the encoders 0 and 13 do not follow the prior: there the bits that one z leaves
    # behind must not choose the next
    @pytest.mark.parametrize("seed", [7, 0, 13])
    def test_the_length_of_a_real_message(self, seed):
        # measured bits per symbol against the exact expectation, and the naive code far outside
        model, q = random_case(seed, latents=4, symbols=6)
        expected = bits_back(model, q)
        n = 3000
        _, x = model.sample(n)
        start = random.Random(1).getrandbits(4096) | 1 << 4096
        net = BitsBackCoder(model, q, precision=20).encode(x, start).bit_length() - start.bit_length()
        # per symbol the length is log2 q(z|x) - log2 p(x, z), with z random as well: its spread, exactly
        joint = model.log_joint(torch.arange(6)) / math.log(2)
        bits, weight = q.log2() - joint, model.log_evidence(torch.arange(6)).exp().unsqueeze(-1) * q
        deviation = ((weight * bits.square()).sum() - expected.net**2).sqrt().item()
        error = deviation / math.sqrt(n)
        assert abs(net / n - expected.net.item()) < 5 * error
        assert expected.refund.item() > 10 * error  # power: without the refund it would be far away
        assert expected.two_part - expected.net == pytest.approx(expected.refund.item())

    def test_with_the_exact_posterior_the_message_is_as_short_as_it_can_be(self):
        model, _ = random_case(3, latents=4, symbols=6)
        coder = BitsBackCoder(model, model.posterior(torch.arange(6)), precision=24)
        _, x = model.sample(2000)
        start = random.Random(2).getrandbits(2048) | 1 << 2048
        net = coder.encode(x, start).bit_length() - start.bit_length()
        # no spread over z at all: -log2 p(x, z) + log2 p(z|x) = -log2 p(x), symbol by symbol
        assert net == pytest.approx(-model.log_evidence(x).sum().item() / math.log(2), abs=3)

    def test_a_symbol_whose_row_is_never_used(self):
        model = DiscreteLatentModel([0.5, 0.5], [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
        q = torch.tensor([[0.5, 0.5], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
        coder = BitsBackCoder(model, q)
        assert coder.decode(coder.encode(torch.tensor([0, 1, 1]), 5), 3)[0].tolist() == [0, 1, 1]
        with pytest.raises(ValueError, match="x holds the symbol 2; wanted symbols that the model can"):
            coder.encode(torch.tensor([2]))

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda m, q: BitsBackCoder(m, q, precision=4), "precision is 4; wanted an integer from 8 to 32"),
            (lambda m, q: BitsBackCoder(m, q, precision=40), "precision is 40"),
            (lambda m, q: BitsBackCoder(m, q.T), r"q has shape \(3, 5\); wanted \(M, K\) = \(5, 3\)"),
            (lambda m, q: bits_back(m, q[:2]), r"q has shape \(2, 3\)"),
            (lambda m, q: bits_back(m, 2 * q), "q holds a row that sums to 2"),
            (lambda m, q: BitsBackCoder(m, q).encode(torch.tensor([5])), "x holds the symbol 5"),
            (lambda m, q: BitsBackCoder(m, q).encode(torch.tensor([-1])), "x holds the symbol -1"),
            (lambda m, q: BitsBackCoder(m, q).encode(torch.tensor([0.0])), "x has dtype torch.float32"),
            (lambda m, q: BitsBackCoder(m, q).encode(torch.tensor([[0]])), r"x has shape \(1, 1\)"),
            (lambda m, q: BitsBackCoder(m, q).encode(torch.tensor([0]), start=0), "start is 0"),
            (lambda m, q: BitsBackCoder(m, q).decode(0, 1), "message is 0"),
            (lambda m, q: BitsBackCoder(m, q).decode(9, 0), "n is 0"),
            (
                lambda m, q: BitsBackCoder(
                    DiscreteLatentModel([0.5, 0.5], [[1.0, 0.0], [0.5, 0.5]]), torch.full((2, 2), 0.5)
                ),
                "q proposes z = 0 for the symbol 1, which it cannot have produced",
            ),
        ],
    )
    def test_refuses(self, call, message):
        with pytest.raises(ValueError, match=message):
            call(*random_case(0))
