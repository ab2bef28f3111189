"""Every architecture of the registry: shapes, conditioning, learning, cost, refusals."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from runners import models
from runners.config import Call
from study.design import scales

K = 24
UNET = "channels=(16, 32), groups=8, layers=1"
SMALL = {  # a small spelling of each architecture, for 16 pixels
    "adagn_unet": f"adagn_unet({UNET})",
    "concat_unet": f"concat_unet({UNET})",
    "context_unet": "context_unet(features=8, levels=2)",
    "cross_attention_unet": f"cross_attention_unet(attention=(-1,), {UNET.replace('layers', 'head_width=8, layers')})",
    "unet": f"unet({UNET})",
}


def build(text: str, image_size: int = 16, timesteps: int = 1000) -> torch.nn.Module:
    torch.manual_seed(0)
    return models.build(text, image_size, K, timesteps).eval()


def spell(name: str, **arguments: object) -> str:
    """The small spelling of an architecture with more arguments."""
    return str(Call(name, tuple(sorted({**dict(Call.parse(SMALL[name]).arguments), **arguments}.items()))))


def arguments_of(name: str) -> list[str]:
    return list(inspect.signature(importlib.import_module(f"runners.models.{name}").build).parameters)


def batch(size: int = 16, timesteps: int = 1000) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x (4, 3, H, W), t (4,) from one end of the diffusion to the other, c (4, K) with one to four labels each."""
    generator = torch.Generator().manual_seed(1)
    x_BCHW = torch.randn(4, 3, size, size, generator=generator)
    c_BK = torch.stack([torch.zeros(K).index_fill(0, torch.arange(i, i * 6 + 1, i + 1), 1) for i in range(4)])
    return x_BCHW, torch.linspace(0, timesteps - 1, 4).long(), c_BK


def test_every_architecture_has_a_small_spelling():
    assert set(SMALL) == set(models.names())


def test_importing_the_registry_imports_no_diffusers_and_the_config_no_torch():
    code = """
import sys, runners.config
assert "torch" not in sys.modules
import runners.models
for name in runners.models.names():
    __import__(f"runners.models.{name}")
assert "diffusers" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", models.names())
def test_shape_and_conditioning(name):
    model = build(SMALL[name]).train()
    x, t, c = batch()
    other = c.clone()
    other[:, 5] = 1 - other[:, 5]
    with torch.no_grad():
        for _ in range(30):  # batch norm starts from mean 0 and variance 1, with which little arrives from the bottom
            model(x, t, c)
        output = model.eval()(x, t, c)
        assert output.shape == x.shape
        assert output.dtype == torch.float32
        for changed in (model(x, t, other), model(x, t, 0 * c), model(x, t.flip(0), c)):  # condition and time arrive,
            assert (changed - output).abs().amax((1, 2, 3)).min() > 1e-4  # in every image of the batch
        for i in range(len(x)):  # and each image has its own
            one = slice(i, i + 1)
            torch.testing.assert_close(output[one], model(x[one], t[one], c[one]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", models.names())
def test_a_condition_of_zeros_reads_no_label(name):
    model = build(SMALL[name])
    x, t, c = batch()
    with torch.no_grad():
        conditional, unconditional = model(x, t, c), model(x, t, 0 * c)
        found = 0
        for value in model.parameters():
            for axis, size in enumerate(value.shape):
                if size in (K, 1 + K, 3 + K):  # the labels alone, behind the null token, behind RGB
                    value.narrow(axis, size - K, K).add_(torch.randn(()))
                    found += 1
        assert found
        torch.testing.assert_close(model(x, t, 0 * c), unconditional, atol=0, rtol=0)
        assert not torch.allclose(model(x, t, c), conditional, atol=1e-4)


@pytest.mark.parametrize("name", models.names())
def test_a_few_steps_learn_four_images(name):
    model = build(SMALL[name]).train()
    x, t, c = batch()
    wanted = torch.tanh(torch.randn(x.shape, generator=torch.Generator().manual_seed(2)))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        loss = (model(x, t, c) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * min(losses[0], wanted.square().mean().item())  # better than the start and than zero
    idle = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert not idle, f"never trained: {idle}"


@pytest.mark.parametrize("name", models.names())
def test_bf16_autocast_is_close(name):
    model = build(SMALL[name])
    x, t, c = batch()
    with torch.no_grad():
        exact = model(x, t, c)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(x, t, c).float()
    assert (rounded - exact).square().mean() < 1e-3 * exact.square().mean()


@pytest.mark.parametrize("name", [name for name in models.names() if "patch" in arguments_of(name)])
def test_a_patch_leaves_the_shape_and_saves_work(name):
    x, t, c = batch()
    with torch.no_grad():
        assert build(spell(name, patch=2))(x, t, c).shape == x.shape
    whole, patched = (models.measure(text, 16, K, 1000) for text in (SMALL[name], spell(name, patch=2)))
    assert patched.forward_flop < 0.4 * whole.forward_flop


@pytest.mark.parametrize("name", ["unet", "adagn_unet"])
@pytest.mark.parametrize("encoder", ["mlp", "embedding"])
def test_an_encoder_changes_the_network(name, encoder):
    x, t, c = batch()
    with torch.no_grad():
        assert not torch.allclose(build(spell(name, encoder=encoder))(x, t, c), build(SMALL[name])(x, t, c), atol=1e-4)


# --- the cost ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models.names())
def test_the_measured_size_is_that_of_a_real_forward_pass(name):
    state = torch.get_rng_state()
    size = models.measure(SMALL[name], 16, K, 1000)
    assert torch.equal(torch.get_rng_state(), state)  # measuring draws no number of a training
    model = build(SMALL[name]).requires_grad_(False)
    assert size.parameters == sum(value.numel() for value in model.parameters()) > 0
    x, t, c = (value[:1] for value in batch())
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # the kernel that torch can count
        model(x, t, c)
    assert size.forward_flop == counter.get_total_flops() > 0


@pytest.mark.parametrize(
    ("text", "size", "parameters", "gflop"),
    [
        ("unet", 64, 113.686e6, 31.035),
        (scales.GPU_UNET, 64, 28.454e6, 7.773),
        (scales.SMALL_UNET, 16, 0.282e6, 0.03136),
        ("context_unet", 64, 6.926e6, 4.399),
    ],
)
def test_known_sizes(text, size, parameters, gflop):
    measured = models.measure(text, size, K, 1000)
    assert measured.parameters == pytest.approx(parameters, rel=2e-3)
    assert measured.forward_flop / 1e9 == pytest.approx(gflop, rel=2e-3)


@pytest.mark.parametrize("scale", scales.SCALES)
def test_the_architectures_of_a_scale_cost_the_same(scale):
    from study.studies.architectures import arms

    config = scales.SCALES[scale].config
    found = arms(scale, config)
    assert list(found) == ["unet", "adagn_unet", "concat_unet", "cross_attention_unet", "context_unet"]
    assert found["unet"] == {"model": config.model}
    for name, arm in found.items():
        assert Call.parse(arm["model"]).name == name
        arm_size, baseline = (
            models.measure(model, config.image_size, K, config.timesteps) for model in (arm["model"], config.model)
        )
        assert arm_size.forward_flop == pytest.approx(baseline.forward_flop, rel=0.1)


def test_the_architectures_of_another_picture_size_are_refused():
    from study.studies.architectures import arms

    with pytest.raises(ValueError, match="leave model and image_size out of --set"):
        arms("laptop", scales.SCALES["laptop"].config.replace(image_size=32))


# --- what each architecture is -------------------------------------------------------------------------


def test_the_reports_network_attends_where_the_reports_do():
    model = models.build("unet", 64, K, 1000)
    kinds = [type(block).__name__ for block in [*model.unet.down_blocks, *model.unet.up_blocks]]
    assert [i for i, kind in enumerate(kinds) if kind.startswith("Attn")] == [4, 6 + 1]


def test_a_seed_gives_the_weights_of_earlier_records():
    model = build(scales.SMALL_UNET)
    assert sum(value.abs().sum().item() for value in model.parameters()) == pytest.approx(12309.574752, rel=1e-7)


def test_adaptive_group_norm_scales_and_shifts():
    model = build(SMALL["adagn_unet"])
    block = model.unet.down_blocks[0].resnets[0]
    assert block.time_embedding_norm == "scale_shift"
    assert block.time_emb_proj.out_features == 2 * 16
    assert model.unet.mid_block.attentions[0].group_norm.num_groups == 8  # diffusers leaves it out unless told


def test_the_concatenated_labels_are_constant_planes():
    model = build(SMALL["concat_unet"])
    seen = []
    model.unet.conv_in.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x, t, c = batch()
    with torch.no_grad():
        model(x, t, c)
    torch.testing.assert_close(seen[0], torch.cat([x, c[:, :, None, None].expand(-1, -1, 16, 16)], 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_token_of_an_absent_object_has_no_influence(dtype):
    model = build(SMALL["cross_attention_unet"])
    x, t, c = batch()
    absent_L = torch.cat([torch.tensor([False]), ~c.any(0)])
    assert 0 < absent_L.sum() < K

    def output() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            return model(x, t, c).float()

    before = output()
    before.square().mean().backward()
    moved_L = model.tokens_LD.grad.abs().amax(1) > 0
    assert torch.equal(moved_L, ~absent_L)  # the null token and the objects asked for learn, no other
    with torch.no_grad():
        model.tokens_LD[absent_L] *= 100
        assert torch.equal(output(), before)
        model.tokens_LD[0] += 1
        assert not torch.allclose(output(), before, atol=1e-4)


def test_cross_attention_has_heads_of_the_width_asked_for():
    model = build("cross_attention_unet(attention=(-2, -1), channels=(16, 32), groups=8, head_width=8, layers=1)")
    heads = [
        (value.heads, value.to_q.out_features, value.to_k.in_features)
        for name, value in model.named_modules()
        if name.endswith("attn2")
    ]
    assert sorted(heads) == [(2, 16, 128)] * 3 + [(4, 32, 128)] * 4


@pytest.mark.parametrize(("text", "size", "pooled"), [("context_unet", 64, 8), ("context_unet(levels=2)", 28, 7)])
def test_the_context_unet_of_a_report_and_of_the_digits(text, size, pooled):
    model = build(text, size, timesteps=400)
    assert model.from_vector[0].kernel_size == (pooled, pooled)
    vectors = []
    model.to_vector.register_forward_hook(lambda _, __, output: vectors.append(output))
    x, t, c = batch(size, 400)
    with torch.no_grad():
        assert model(x, t, c).shape == x.shape
    assert vectors[0].shape == (4, 64 * 2 ** (len(model.down) - 1), 1, 1)


def test_the_context_unet_reads_the_time_as_a_fraction():
    model = build(SMALL["context_unet"], timesteps=400)
    seen = []
    for embed in model.time:
        embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten().tolist()))
    x, _, c = batch()
    with torch.no_grad():
        model(x, torch.tensor([0, 99, 199, 399]), c)
    assert seen == [pytest.approx([1 / 400, 1 / 4, 1 / 2, 1])] * 2


# --- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("unett", "did you mean 'unet'"),
        ("unet(wdith=64)", "takes no argument 'wdith'"),
        ("unet(chanels=(64, 64))", "did you mean 'channels'"),
        ("unet(labels=3)", "takes no argument 'labels'"),
        ("context_unet(timesteps=3)", "takes no argument 'timesteps'"),
        ("concat_unet(encoder='mlp')", "takes no argument 'encoder'"),
        ("unet(layers=2)", "write 'unet'"),
        ("unet(channels=(16, 32, 32, 32, 32, 32), groups=8)", "image_size that 32 divides.*image_size=32"),
        ("unet(channels=(16, 32, 32, 32), groups=8, patch=4)", "image_size that 32 divides"),
        ("unet(channels=(20, 40), groups=8)", "groups=8 must divide.*write groups=20"),
        ("unet(channels=(16, 32), encoder='cnn', groups=8)", "linear, mlp, embedding"),
        ("unet(attention=(7,), channels=(16, 32), groups=8)", "names a level.*from -2 to 1"),
        ("unet(attention=-1, channels=(16, 32), groups=8)", r"write attention=\(-1,\)"),
        ("unet(channels=64)", r"write channels=\(64, 128\)"),
        ("unet(channels=(4, 8), groups=4)", "at least 8"),
        ("unet(channels=(16, 32), groups=8, layers=0)", "layers=0 must be a whole number"),
        ("unet(channels=(16, 32), groups=8, patch=1.5)", "patch=1.5 must be a whole number"),
        ("adagn_unet(channels=(16, 32), encoder='cnn', groups=8)", "linear, mlp, embedding"),
        ("adagn_unet(channels=(20, 40), groups=8)", "groups=8 must divide"),
        ("concat_unet(channels=(16, 32, 32, 32, 32, 32), groups=8)", "image_size that 32 divides"),
        ("cross_attention_unet", "image_size that 32 divides"),
        ("cross_attention_unet(attention=(-1,), channels=(16, 32), groups=8, head_width=24)", "write head_width=32"),
        ("cross_attention_unet(attention=(), channels=(16, 32), groups=8, token_width=0)", "token_width=0"),
        ("context_unet(features=20)", "multiple of 8: write features=24"),
        ("context_unet(features='64')", "features='64' must be a whole number"),
        ("context_unet(levels=5)", "image_size that 32 divides, not 16: write levels=4"),
        ("context_unet(patch=8)", "levels=3 need an image_size that 64 divides, not 16: write levels=1 or another"),
        ("context_unet(patch=3)", "that 24 divides, not 16: write another image_size or patch"),
        ("context_unet(norm='layer')", "write one of batch, group"),
        ("context_unet(encoder='mlp')", "write one of linear, embedding"),
    ],
)
def test_what_cannot_be_built_says_what_to_write(text, words, monkeypatch):
    for made in (torch.nn.Conv2d, torch.nn.Linear):  # refused before anything is built
        monkeypatch.setattr(made, "__init__", lambda *_, **__: pytest.fail("it was built"))
    with pytest.raises(ValueError, match=words):
        models.build(text, 16, K, 1000)
    with pytest.raises(ValueError, match=words):
        models.measure(text, 16, K, 1000)
