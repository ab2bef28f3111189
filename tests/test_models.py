"""Every architecture of the registry: shapes, conditioning, refusals."""

from __future__ import annotations

import pytest
import torch

from runners import models

SMALL = {"unet": "unet(channels=(16, 32), groups=8, layers=1)"}  # a small spelling of each architecture


def build(text: str, image_size: int = 16) -> torch.nn.Module:
    torch.manual_seed(0)
    module, arguments = models.architecture(text)
    return module.build(image_size, 24, **arguments).eval()


def test_every_architecture_has_a_small_spelling():
    assert set(SMALL) == set(models.names())


@pytest.mark.parametrize("name", models.names())
def test_shape_and_conditioning(name):
    model = build(SMALL[name])
    x, t, c = torch.randn(3, 3, 16, 16), torch.tensor([0, 10, 999]), torch.zeros(3, 24)
    other = c.clone()
    other[:, 5] = 1
    with torch.no_grad():
        output = model(x, t, c)
        assert output.shape == x.shape
        assert not torch.allclose(output, model(x, t, other), atol=1e-4)  # the condition reaches the output
        assert not torch.allclose(output, model(x, t.flip(0), c), atol=1e-4)  # and so does the time
        torch.testing.assert_close(output[:1], model(x[:1], t[:1], c[:1]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("extra", ["encoder='mlp'", "encoder='embedding'", "patch=2"])
def test_unet_options_change_the_network(extra):
    first, second = sorted(["channels=(16, 32), groups=8, layers=1", extra], key=lambda text: text.split("=")[0])
    if extra.startswith("encoder"):
        text = f"unet(channels=(16, 32), {extra}, groups=8, layers=1)"
    else:
        text = f"unet({first}, {second})"
    x, t, c = torch.randn(2, 3, 16, 16), torch.tensor([5, 7]), torch.ones(2, 24)
    with torch.no_grad():
        assert build(text)(x, t, c).shape == x.shape
        assert not torch.allclose(build(text)(x, t, c), build(SMALL["unet"])(x, t, c), atol=1e-4)


def test_the_reports_network_has_the_reports_size():
    model = build("unet", 64)
    assert sum(value.numel() for value in model.parameters()) == pytest.approx(113.7e6, rel=0.01)
    kinds = [type(block).__name__ for block in [*model.unet.down_blocks, *model.unet.up_blocks]]
    assert [i for i, kind in enumerate(kinds) if kind.startswith("Attn")] == [4, 6 + 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("unett", "did you mean 'unet'"),
        ("unet(wdith=64)", "takes no argument 'wdith'"),
        ("unet(chanels=(64, 64))", "did you mean 'channels'"),
        ("unet(channels=(16, 32, 32, 32, 32, 32), groups=8)", "image_size that 32 divides"),
        ("unet(channels=(20, 40), groups=8)", "groups=8 must divide"),
        ("unet(channels=(16, 32), encoder='cnn', groups=8)", "linear, mlp, embedding"),
        ("unet(attention=(7,), channels=(16, 32), groups=8)", "names a level"),
    ],
)
def test_what_cannot_be_built_says_what_to_write(text, words):
    def check() -> None:
        module, arguments = models.architecture(text)
        module.check(16, **arguments)

    with pytest.raises(ValueError, match=words):
        check()
