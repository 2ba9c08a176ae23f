"""Architectures that torchvision lacks, small: each has what is peculiar to its family, and at most some stages of it.

FAMILIES maps a name to a builder of (model, shape of the input). export.py writes them like torchvision's.
"""
import torch
from torch import nn
from torch.nn import functional as F


def conv_bn(i, o, k=3, stride=1, groups=1, act=nn.ReLU, dilation=1):
    return nn.Sequential(nn.Conv2d(i, o, k, stride, (k // 2) * dilation, dilation, groups, bias=False), nn.BatchNorm2d(o),
                         act() if act else nn.Identity())


class Head(nn.Module):
    """Pooled features to ten classes."""

    def __init__(self, features, width):
        super().__init__()
        self.features, self.fc = features, nn.Linear(width, 10)

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


# --- attention over channels and places ---
class SqueezeExcite(nn.Module):
    def __init__(self, width, ratio=4):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(width, width // ratio), nn.ReLU(), nn.Linear(width // ratio, width), nn.Sigmoid())

    def forward(self, x):
        scale = self.fc(F.adaptive_avg_pool2d(x, 1).view(x.shape[0], -1))
        return x * scale.view(x.shape[0], -1, 1, 1).expand_as(x)


class EfficientChannelAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x):
        y = F.adaptive_avg_pool2d(x, 1)
        y = self.conv(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * torch.sigmoid(y)


class CBAM(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.mlp = nn.Sequential(nn.Conv2d(width, width // 4, 1), nn.ReLU(), nn.Conv2d(width // 4, width, 1))
        self.conv = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x):
        x = x * torch.sigmoid(self.mlp(F.adaptive_avg_pool2d(x, 1)) + self.mlp(F.adaptive_max_pool2d(x, 1)))
        places = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
        return x * torch.sigmoid(self.conv(places))


class GlobalContext(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.mask = nn.Conv2d(width, 1, 1)
        self.transform = nn.Sequential(nn.Conv2d(width, width // 4, 1), nn.LayerNorm([width // 4, 1, 1]), nn.ReLU(),
                                       nn.Conv2d(width // 4, width, 1))

    def forward(self, x):
        n, c, h, w = x.shape
        weights = self.mask(x).view(n, 1, h * w).softmax(2)
        context = torch.matmul(x.view(n, c, h * w), weights.transpose(1, 2)).view(n, c, 1, 1)
        return x + self.transform(context)


class CoordinateAttention(nn.Module):
    def __init__(self, width):
        super().__init__()
        middle = max(8, width // 8)
        self.reduce = conv_bn(width, middle, 1, act=nn.Hardswish)
        self.h, self.w = nn.Conv2d(middle, width, 1), nn.Conv2d(middle, width, 1)

    def forward(self, x):
        h, w = x.shape[2], x.shape[3]
        y = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).permute(0, 1, 3, 2)], 2)
        a, b = torch.split(self.reduce(y), [h, w], 2)
        return x * torch.sigmoid(self.h(a)) * torch.sigmoid(self.w(b.permute(0, 1, 3, 2)))


class SelectiveKernel(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a, self.b = conv_bn(width, width), conv_bn(width, width, dilation=2)
        self.reduce, self.choose = nn.Linear(width, width // 2), nn.Linear(width // 2, 2 * width)

    def forward(self, x):
        branches = torch.stack([self.a(x), self.b(x)], 1)
        n, _, c = branches.shape[:3]
        weights = self.choose(F.relu(self.reduce(branches.sum(1).mean((2, 3))))).view(n, 2, c).softmax(1)
        return (branches * weights.unsqueeze(-1).unsqueeze(-1)).sum(1)


class SplitAttention(nn.Module):
    """ResNeSt: radix 2, cardinality 2."""

    def __init__(self, width, radix=2, groups=2):
        super().__init__()
        self.radix, self.groups = radix, groups
        self.conv = conv_bn(width, width * radix, groups=groups * radix)
        self.fc1, self.fc2 = nn.Conv2d(width, width // 2, 1, groups=groups), nn.Conv2d(width // 2, width * radix, 1, groups=groups)

    def forward(self, x):
        n, c = x.shape[:2]
        parts = self.conv(x).view(n, self.radix, c, x.shape[2], x.shape[3])
        weights = self.fc2(F.relu(self.fc1(parts.sum(1).mean((2, 3), keepdim=True))))
        weights = weights.view(n, self.groups, self.radix, -1).transpose(1, 2).softmax(1).reshape(n, self.radix, c, 1, 1)
        return (parts * weights).sum(1)


class NonLocal(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(width, width // 2, 1) for _ in range(3))
        self.out = nn.Conv2d(width // 2, width, 1)

    def forward(self, x):
        n, c, h, w = x.shape
        q, k, v = (f(x).view(n, c // 2, -1) for f in (self.query, self.key, self.value))
        attention = torch.bmm(q.permute(0, 2, 1), k).softmax(-1)
        return x + self.out(torch.bmm(v, attention.permute(0, 2, 1)).view(n, c // 2, h, w))


def with_attention(make):
    def build():
        stages = [conv_bn(3, 32, stride=2)]
        for _ in range(2):
            stages.append(Residual(nn.Sequential(conv_bn(32, 32), conv_bn(32, 32), make(32))))
        stages += [conv_bn(32, 64, stride=2), Residual(nn.Sequential(conv_bn(64, 64), make(64)))]
        return Head(nn.Sequential(*stages), 64), (3, 32, 32)
    return build


# --- splits, groups, dense connections ---
class Ghost(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.o = o
        self.primary, self.cheap = conv_bn(i, (o + 1) // 2, 1), conv_bn((o + 1) // 2, (o + 1) // 2, groups=(o + 1) // 2)

    def forward(self, x):
        y = self.primary(x)
        return torch.cat([y, self.cheap(y)], 1)[:, :self.o]


class Res2(nn.Module):
    def __init__(self, width, scale=4):
        super().__init__()
        self.first, self.last = conv_bn(width, width, 1), conv_bn(width, width, 1, act=None)
        self.parts = nn.ModuleList(conv_bn(width // scale, width // scale) for _ in range(scale - 1))
        self.scale = scale

    def forward(self, x):
        chunks = torch.chunk(self.first(x), self.scale, 1)
        done, carry = [chunks[0]], None
        for part, chunk in zip(self.parts, chunks[1:]):
            carry = part(chunk if carry is None else chunk + carry)
            done.append(carry)
        return F.relu(x + self.last(torch.cat(done, 1)))


class CrossStagePartial(nn.Module):
    def __init__(self, width, n=2):
        super().__init__()
        half = width // 2
        self.left, self.right, self.merge = conv_bn(width, half, 1, act=nn.SiLU), conv_bn(width, half, 1, act=nn.SiLU), conv_bn(width, width, 1, act=nn.SiLU)
        self.body = nn.Sequential(*(Residual(nn.Sequential(conv_bn(half, half, 1, act=nn.SiLU), conv_bn(half, half, act=nn.SiLU))) for _ in range(n)))

    def forward(self, x):
        return self.merge(torch.cat([self.body(self.left(x)), self.right(x)], 1))


class C2f(nn.Module):
    """YOLOv8's block."""

    def __init__(self, width, n=2):
        super().__init__()
        half = width // 2
        self.first, self.last = conv_bn(width, width, 1, act=nn.SiLU), conv_bn((2 + n) * half, width, 1, act=nn.SiLU)
        self.body = nn.ModuleList(Residual(nn.Sequential(conv_bn(half, half, act=nn.SiLU), conv_bn(half, half, act=nn.SiLU))) for _ in range(n))

    def forward(self, x):
        parts = list(self.first(x).chunk(2, 1))
        for body in self.body:
            parts.append(body(parts[-1]))
        return self.last(torch.cat(parts, 1))


class DualPath(nn.Module):
    def __init__(self, dense, residual=32, grow=8):
        super().__init__()
        self.residual = residual
        self.body = nn.Sequential(conv_bn(residual + dense, 32, 1), conv_bn(32, 32, groups=4), nn.Conv2d(32, residual + grow, 1))

    def forward(self, x):
        y = self.body(x)
        return torch.cat([x[:, :self.residual] + y[:, :self.residual], x[:, self.residual:], y[:, self.residual:]], 1)


class Shuffle(nn.Module):
    def __init__(self, width, groups=4):
        super().__init__()
        self.groups = groups
        self.a, self.b, self.c = conv_bn(width, width, 1, groups=groups), conv_bn(width, width, groups=width, act=None), conv_bn(width, width, 1, groups=groups, act=None)

    def forward(self, x):
        y = self.a(x)
        n, c, h, w = y.shape
        y = y.view(n, self.groups, c // self.groups, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        return F.relu(x + self.c(self.b(y)))


class ESP(nn.Module):
    """ESPNet: one reduction, dilated branches, hierarchical fusion."""

    def __init__(self, width):
        super().__init__()
        part = width // 4
        self.reduce = nn.Conv2d(width, part, 1, bias=False)
        self.branches = nn.ModuleList(nn.Conv2d(part, part, 3, padding=d, dilation=d, bias=False) for d in (1, 2, 4, 8))
        self.norm = nn.Sequential(nn.BatchNorm2d(width), nn.PReLU(width))

    def forward(self, x):
        y = self.reduce(x)
        parts = [branch(y) for branch in self.branches]
        for i in range(1, len(parts)):
            parts[i] = parts[i] + parts[i - 1]
        return self.norm(x + torch.cat(parts, 1))


class RepVGG(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a, self.b, self.c = conv_bn(width, width, act=None), conv_bn(width, width, 1, act=None), nn.BatchNorm2d(width)

    def forward(self, x):
        return F.relu(self.a(x) + self.b(x) + self.c(x))


class Maxout(nn.Module):
    """Light CNN: the larger of two halves."""

    def __init__(self, i, o):
        super().__init__()
        self.conv = nn.Conv2d(i, 2 * o, 3, padding=1)

    def forward(self, x):
        a, b = torch.split(self.conv(x), self.conv.out_channels // 2, 1)
        return torch.max(a, b)


class Octave(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.hh, self.ll, self.hl, self.lh = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(4))

    def forward(self, x):
        high, low = x
        return (F.relu(self.hh(high) + F.interpolate(self.lh(low), scale_factor=2.0, mode="nearest")),
                F.relu(self.ll(low) + self.hl(F.avg_pool2d(high, 2))))


class OctaveNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b, self.fc = conv_bn(3, 24), Octave(24), Octave(24), nn.Linear(48, 10)

    def forward(self, x):
        x = self.stem(x)
        high, low = self.b(self.a((x, F.avg_pool2d(x, 2))))
        return self.fc(torch.cat([high.mean((2, 3)), low.mean((2, 3))], 1))


def stack(make, width=32, n=3):
    def build():
        return Head(nn.Sequential(conv_bn(3, width, stride=2), *(make(width) for _ in range(n))), width), (3, 32, 32)
    return build


def dual_path():
    return Head(nn.Sequential(conv_bn(3, 40), DualPath(8), DualPath(16), DualPath(24)), 64), (3, 16, 16)


# --- encoders and decoders, necks, heads ---
class UNet(nn.Module):
    def __init__(self, norm=nn.BatchNorm2d, up="transpose", join="cat"):
        super().__init__()
        widths = (16, 32, 64)

        def double(i, o):
            return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), norm(o), nn.ReLU(), nn.Conv2d(o, o, 3, padding=1), norm(o), nn.ReLU())
        self.join = join
        self.down = nn.ModuleList(double(i, o) for i, o in zip((3,) + widths, widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(o, i, 2, 2) if up == "transpose" else
                                nn.Sequential(nn.Upsample(scale_factor=2, mode=up, align_corners=True if up == "bilinear" else None), nn.Conv2d(o, i, 1))
                                for i, o in zip(widths, widths[1:]))
        self.merge = nn.ModuleList(double(2 * i if join == "cat" else i, i) for i in widths[:-1])
        self.out = nn.Conv2d(widths[0], 4, 1)

    def forward(self, x):
        skips = []
        for i, stage in enumerate(self.down):
            x = stage(x if i == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        for i in reversed(range(len(self.up))):
            y = self.up[i](x)
            x = self.merge[i](torch.cat([skips[i], y], 1) if self.join == "cat" else skips[i] + y)
        return self.out(x)


class UNetPlusPlus(nn.Module):
    def __init__(self):
        super().__init__()
        w = (16, 24, 32)
        self.x00, self.x10, self.x20 = conv_bn(3, w[0]), conv_bn(w[0], w[1]), conv_bn(w[1], w[2])
        self.x01, self.x11 = conv_bn(w[0] + w[1], w[0]), conv_bn(w[1] + w[2], w[1])
        self.x02, self.out = conv_bn(2 * w[0] + w[1], w[0]), nn.Conv2d(w[0], 3, 1)

    def forward(self, x):
        def up(t):
            return F.interpolate(t, scale_factor=2, mode="bilinear", align_corners=False)
        a = self.x00(x)
        b = self.x10(F.max_pool2d(a, 2))
        a1 = self.x01(torch.cat([a, up(b)], 1))
        b1 = self.x11(torch.cat([b, up(self.x20(F.max_pool2d(b, 2)))], 1))
        return self.out(self.x02(torch.cat([a, a1, up(b1)], 1)))


class Detector(nn.Module):
    """FPN and PAN over three levels, one head for all of them: RetinaNet's, with YOLO's decoding."""

    def __init__(self, decode=False):
        super().__init__()
        w = (16, 32, 64)
        self.stem = conv_bn(3, w[0], stride=2)
        self.stages = nn.ModuleList(nn.Sequential(conv_bn(i, o, stride=2), CrossStagePartial(o, 1)) for i, o in zip((w[0],) + w, w))
        self.lateral = nn.ModuleList(nn.Conv2d(o, 32, 1) for o in w)
        self.smooth = nn.ModuleList(conv_bn(32, 32) for _ in w)
        self.down = nn.ModuleList(conv_bn(32, 32, stride=2) for _ in w[1:])
        self.classes = nn.Sequential(conv_bn(32, 32), conv_bn(32, 32), nn.Conv2d(32, 3 * 5, 3, padding=1))
        self.boxes = nn.Sequential(conv_bn(32, 32), nn.Conv2d(32, 3 * 4, 3, padding=1))
        self.decode = decode

    def forward(self, x):
        features = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        tops = [lateral(f) for lateral, f in zip(self.lateral, features)]
        for i in (1, 0):
            tops[i] = tops[i] + F.interpolate(tops[i + 1], size=tops[i].shape[2:], mode="nearest")
        tops = [smooth(t) for smooth, t in zip(self.smooth, tops)]
        for i, down in enumerate(self.down):
            tops[i + 1] = tops[i + 1] + down(tops[i])
        classes, boxes = [], []
        for t in tops:
            n, _, h, w = t.shape
            classes.append(self.classes(t).view(n, 3, 5, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, 5))
            boxes.append(self.boxes(t).view(n, 3, 4, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, 4))
        classes, boxes = torch.cat(classes, 1), torch.cat(boxes, 1)
        if not self.decode:
            return torch.cat([classes, boxes], 2)
        centre, extent = boxes[..., :2].sigmoid() * 2 - 0.5, torch.exp(boxes[..., 2:])
        return torch.cat([centre - extent / 2, centre + extent / 2, classes.sigmoid()], 2)


class BiFPN(nn.Module):
    """EfficientDet's weighted fusion."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv_bn(3, 24, stride=2), conv_bn(24, 24, stride=2), conv_bn(24, 24, stride=2)
        self.w1, self.w2 = nn.Parameter(torch.rand(2)), nn.Parameter(torch.rand(3))
        self.up, self.down, self.out = conv_bn(24, 24, groups=24), conv_bn(24, 24), nn.Conv2d(24, 6, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(a)
        c = self.c(b)
        w1, w2 = F.relu(self.w1), F.relu(self.w2)
        w1, w2 = w1 / (w1.sum() + 1e-4), w2 / (w2.sum() + 1e-4)
        middle = self.up(w1[0] * b + w1[1] * F.interpolate(c, scale_factor=2))
        return self.out(self.down(w2[0] * b + w2[1] * middle + w2[2] * F.max_pool2d(a, 3, 2, 1)))


class HRNet(nn.Module):
    def __init__(self):
        super().__init__()
        w = (16, 32)
        self.stem, self.split = conv_bn(3, w[0], stride=2), conv_bn(w[0], w[1], stride=2)
        self.branches = nn.ModuleList(nn.Sequential(*(Residual(nn.Sequential(conv_bn(c, c), conv_bn(c, c, act=None))) for _ in range(2))) for c in w)
        self.to_low, self.to_high = conv_bn(w[0], w[1], stride=2, act=None), conv_bn(w[1], w[0], 1, act=None)
        self.out = nn.Conv2d(sum(w), 17, 1)

    def forward(self, x):
        high = self.stem(x)
        low = self.split(high)
        high, low = self.branches[0](high), self.branches[1](low)
        high, low = (F.relu(high + F.interpolate(self.to_high(low), size=high.shape[2:], mode="bilinear", align_corners=True)),
                     F.relu(low + self.to_low(high)))
        return self.out(torch.cat([high, F.interpolate(low, scale_factor=2, mode="bilinear", align_corners=False)], 1))


class Hourglass(nn.Module):
    def __init__(self, depth=3, width=32):
        super().__init__()
        self.stem = conv_bn(3, width)
        self.skip = nn.ModuleList(conv_bn(width, width) for _ in range(depth))
        self.enter = nn.ModuleList(conv_bn(width, width) for _ in range(depth))
        self.leave = nn.ModuleList(conv_bn(width, width) for _ in range(depth))
        self.out = nn.Conv2d(width, 16, 1)

    def level(self, x, i: int):
        if i == len(self.skip):
            return x
        y = self.level(self.enter[i](F.max_pool2d(x, 2)), i + 1)
        return self.skip[i](x) + F.interpolate(self.leave[i](y), scale_factor=2.0)

    def forward(self, x):
        return self.out(self.level(self.stem(x), 0))


class PyramidPooling(nn.Module):
    """PSPNet."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, 24, stride=2), conv_bn(24, 24))
        self.levels = nn.ModuleList(nn.Sequential(nn.AdaptiveAvgPool2d(s), conv_bn(24, 8, 1)) for s in (1, 2, 3, 6))
        self.out = nn.Sequential(conv_bn(56, 24), nn.Conv2d(24, 5, 1))

    def forward(self, x):
        f = self.stem(x)
        parts = [f] + [F.interpolate(level(f), size=f.shape[2:], mode="bilinear", align_corners=False) for level in self.levels]
        return F.interpolate(self.out(torch.cat(parts, 1)), size=x.shape[2:], mode="bilinear", align_corners=False)


class SuperResolution(nn.Module):
    """EDSR with pixel shuffle; reflection padding and a bicubic skip."""

    def __init__(self):
        super().__init__()
        self.pad, self.head = nn.ReflectionPad2d(1), nn.Conv2d(3, 24, 3)
        self.body = nn.Sequential(*(Residual(nn.Sequential(nn.Conv2d(24, 24, 3, padding=1), nn.PReLU(24), nn.Conv2d(24, 24, 3, padding=1))) for _ in range(3)))
        self.tail = nn.Sequential(nn.Conv2d(24, 24 * 4, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(24, 3, 3, padding=1))

    def forward(self, x):
        return torch.clamp(self.tail(self.body(self.head(self.pad(x)))) + F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False), 0, 1)


class Generator(nn.Module):
    """CycleGAN: instance norm, reflection padding, transposed convolutions, tanh."""

    def __init__(self):
        super().__init__()
        def norm(o):
            return [nn.InstanceNorm2d(o, affine=True), nn.ReLU()]
        def residual():
            return Residual(nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(32, 32, 3), *norm(32), nn.ReflectionPad2d(1), nn.Conv2d(32, 32, 3), nn.InstanceNorm2d(32)))
        self.net = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(3, 16, 7), *norm(16), nn.Conv2d(16, 32, 3, 2, 1), *norm(32), residual(), residual(),
                                 nn.ConvTranspose2d(32, 16, 3, 2, 1, output_padding=1), *norm(16), nn.ReplicationPad2d(3), nn.Conv2d(16, 3, 7), nn.Tanh())

    def forward(self, x):
        return self.net(x)


class AutoEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ELU(), nn.Conv2d(16, 32, 3, 2, 1), nn.SELU(), nn.Flatten(), nn.Linear(32 * 64, 24))
        self.grow = nn.Linear(24, 32 * 64)
        self.decode = nn.Sequential(nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.Softplus(), nn.ConvTranspose2d(16, 3, 4, 2, 1), nn.Sigmoid())

    def forward(self, x):
        return self.decode(self.grow(self.encode(x)).view(-1, 32, 8, 8))


# --- mixers and hybrids ---
class Mixer(nn.Module):
    """MLP-Mixer: linear layers over places, then over channels."""

    def __init__(self, places=64, width=32):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, 4)
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.places = nn.Sequential(nn.Linear(places, 48), nn.GELU(), nn.Linear(48, places))
        self.channels = nn.Sequential(nn.Linear(width, 96), nn.GELU(), nn.Linear(96, width))
        self.fc = nn.Linear(width, 10)

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = x + self.places(self.n1(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.channels(self.n2(x))
        return self.fc(x.mean(1))


class PoolFormer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.n1, self.n2 = nn.GroupNorm(1, width), nn.GroupNorm(1, width)
        self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.mlp = nn.Sequential(nn.Conv2d(width, 4 * width, 1), nn.GELU(), nn.Conv2d(4 * width, width, 1))
        self.scale = nn.Parameter(torch.rand(width))

    def forward(self, x):
        y = self.n1(x)
        x = x + self.scale.unsqueeze(-1).unsqueeze(-1) * (self.pool(y) - y)
        return x + self.mlp(self.n2(x))


class Attention(nn.Module):
    def __init__(self, width, heads=4):
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        a = ((q * (c // self.heads) ** -0.5) @ k.transpose(-2, -1)).softmax(-1)
        return self.out((a @ v).transpose(1, 2).reshape(n, t, c))


class TransformerBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.n1, self.n2, self.attention = nn.LayerNorm(width), nn.LayerNorm(width), Attention(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Dropout(0.1), nn.Linear(2 * width, width))

    def forward(self, x):
        x = x + self.attention(self.n1(x))
        return x + self.mlp(self.n2(x))


class DeiT(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 8, 8)
        self.token, self.position = nn.Parameter(torch.randn(1, 1, width)), nn.Parameter(torch.randn(1, 17, width))
        self.blocks = nn.Sequential(TransformerBlock(width), TransformerBlock(width), TransformerBlock(width))
        self.norm, self.fc = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.fc(self.norm(self.blocks(x))[:, 0])


class MobileViT(nn.Module):
    """Unfolds 2x2 patches, attends over places of equal position within them, folds back: moves the batch."""

    def __init__(self, width=32):
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, width, stride=2, act=nn.SiLU), conv_bn(width, width, act=nn.SiLU))
        self.block, self.fuse, self.fc = TransformerBlock(width), conv_bn(2 * width, width, act=nn.SiLU), nn.Linear(width, 10)

    def forward(self, x):
        x = self.stem(x)
        n, c, h, w = x.shape
        y = x.reshape(n * c * (h // 2), 2, w // 2, 2).transpose(1, 2).reshape(n, c, (h // 2) * (w // 2), 4)
        y = self.block(y.transpose(1, 3).reshape(n * 4, (h // 2) * (w // 2), c))
        y = y.contiguous().view(n, 4, (h // 2) * (w // 2), c).transpose(1, 3)
        y = y.reshape(n * c * (h // 2), w // 2, 2, 2).transpose(1, 2).reshape(n, c, h, w)
        return self.fc(self.fuse(torch.cat([x, y], 1)).mean((2, 3)))


class Windows(nn.Module):
    """Swin's shifted windows, written with roll."""

    def __init__(self, width=32, window=4, shift=2):
        super().__init__()
        self.stem, self.window, self.shift = nn.Conv2d(3, width, 4, 4), window, shift
        self.a, self.b, self.fc = TransformerBlock(width), TransformerBlock(width), nn.Linear(width, 10)

    def windows(self, x, block):
        n, h, w, c = x.shape
        s = self.window
        x = x.view(n, h // s, s, w // s, s, c).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, s * s, c)
        return block(x).view(n, h // s, w // s, s, s, c).permute(0, 1, 3, 2, 4, 5).contiguous().view(n, h, w, c)

    def forward(self, x):
        x = self.windows(self.stem(x).permute(0, 2, 3, 1), self.a)
        x = torch.roll(self.windows(torch.roll(x, (-self.shift, -self.shift), (1, 2)), self.b), (self.shift, self.shift), (1, 2))
        return self.fc(x.mean((1, 2)))


class ConvMixer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.depthwise = Residual(nn.Sequential(nn.Conv2d(width, width, 5, padding=2, groups=width), nn.GELU(), nn.BatchNorm2d(width)))
        self.point = nn.Sequential(nn.Conv2d(width, width, 1), nn.GELU(), nn.BatchNorm2d(width))

    def forward(self, x):
        return self.point(self.depthwise(x))


class LinearAttention(nn.Module):
    """EfficientViT: ReLU attention over depthwise-aggregated scales."""

    def __init__(self, width, d=8):
        super().__init__()
        self.d, self.qkv = d, nn.Conv2d(width, 3 * width, 1, bias=False)
        self.aggregate = nn.Sequential(nn.Conv2d(3 * width, 3 * width, 5, padding=2, groups=3 * width, bias=False),
                                       nn.Conv2d(3 * width, 3 * width, 1, groups=3 * width // d, bias=False))
        self.out = conv_bn(2 * width, width, 1, act=None)

    def forward(self, x):
        n, c, h, w = x.shape
        y = self.qkv(x)
        y = torch.cat([y, self.aggregate(y)], 1).reshape(n, -1, 3 * self.d, h * w)
        q, k, v = y[:, :, :self.d], y[:, :, self.d:2 * self.d], y[:, :, 2 * self.d:]
        q, k = F.relu(q), F.relu(k)
        v = F.pad(v, (0, 0, 0, 1), value=1.0)
        y = torch.matmul(torch.matmul(v, k.transpose(-1, -2)), q)
        y = y[:, :, :-1] / (y[:, :, -1:] + 1e-6)
        return x + self.out(y.reshape(n, -1, h, w))


# --- odd ones ---
class Siamese(nn.Module):
    """One tower used twice, on two halves of the channels."""

    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(conv_bn(3, 16, stride=2), conv_bn(16, 24, stride=2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96, 32))
        self.fc = nn.Linear(64, 2)

    def forward(self, x):
        a, b = self.tower(x[:, :3]), self.tower(x[:, 3:])
        return self.fc(torch.cat([torch.abs(a - b), a * b], 1))


class OldNet(nn.Module):
    """AlexNet's response normalisation, GoogLeNet's ceil pools, sigmoid-tanh classifiers."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 32, 5, 2), nn.Conv2d(32, 48, 3, groups=2, padding=1), nn.Conv2d(48, 32, 3, padding=1)
        self.lrn = nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0)
        self.fc = nn.Sequential(nn.Linear(32 * 16, 64), nn.Tanh(), nn.Linear(64, 10), nn.LogSoftmax(1))

    def forward(self, x):
        x = F.max_pool2d(self.lrn(F.relu(self.a(x))), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.lrn(F.relu(self.b(x))), 2, 2, ceil_mode=True)
        return self.fc(F.leaky_relu(self.c(x)).flatten(1))


class Preprocess(nn.Module):
    """BGR, mean and deviation in the graph; CoordConv's places; horizontal flip for test-time augmentation."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.rand(1, 3, 1, 1))
        self.register_buffer("std", torch.rand(1, 3, 1, 1) + 0.5)
        y, x = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
        self.register_buffer("places", torch.stack([y, x]).unsqueeze(0))
        self.net = nn.Sequential(conv_bn(5, 16), conv_bn(16, 24, stride=2, act=nn.Mish), conv_bn(24, 24, act=nn.Softsign))
        self.fc = nn.Linear(24, 6)

    def scores(self, x):
        return self.fc(self.net(torch.cat([x, self.places.expand(x.shape[0], -1, -1, -1)], 1)).amax((2, 3)))

    def forward(self, x):
        x = (x[:, [2, 1, 0]] - self.mean) / self.std
        return (self.scores(x) + self.scores(x.flip(3))) / 2


class Embedder(nn.Module):
    """Face recognition: generalised mean pooling, weights of unit length, cosine scores."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(conv_bn(3, 24, act=lambda: nn.PReLU(24)), conv_bn(24, 32, stride=2, act=lambda: nn.PReLU(32)))
        self.p, self.weight = nn.Parameter(torch.tensor(3.0)), nn.Parameter(torch.randn(10, 32))

    def forward(self, x):
        x = F.avg_pool2d(self.net(x).clamp(min=1e-6).pow(self.p), 16).pow(1.0 / self.p).flatten(1)
        return F.linear(F.normalize(x), F.normalize(self.weight)) * 16.0


class Temporal(nn.Module):
    """TCN: dilated causal convolutions over one axis, weight norm, a global pool."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.utils.weight_norm(nn.Conv1d(i, 24, 3, dilation=d)) for i, d in ((8, 1), (24, 2), (24, 4)))
        self.norm, self.fc = nn.BatchNorm1d(24), nn.Linear(24, 5)

    def forward(self, x):
        for conv in self.convs:
            y = F.relu(conv(F.pad(x, ((conv.kernel_size[0] - 1) * conv.dilation[0], 0))))
            x = y if x.shape[1] != y.shape[1] else x + y
        return self.fc(F.adaptive_max_pool1d(self.norm(x), 1).squeeze(-1))


def plain(make, *shape):
    return lambda: (make(), shape)


FAMILIES = {
    "senet": with_attention(SqueezeExcite), "ecanet": with_attention(lambda w: EfficientChannelAttention()),
    "cbam": with_attention(CBAM), "gcnet": with_attention(GlobalContext), "coordatt": with_attention(CoordinateAttention),
    "sknet": stack(SelectiveKernel), "resnest": stack(SplitAttention), "nonlocal": with_attention(NonLocal),
    "ghostnet": stack(lambda w: Ghost(w, w)), "res2net": stack(Res2), "cspnet": stack(CrossStagePartial),
    "yolov8_c2f": stack(C2f), "dpn": dual_path, "shufflenet_v1": stack(Shuffle), "espnet": stack(ESP), "repvgg": stack(RepVGG),
    "lightcnn": stack(lambda w: Maxout(w, w)), "octave": plain(OctaveNet, 3, 32, 32),
    "unet": plain(UNet, 3, 32, 32), "unet_groupnorm": plain(lambda: UNet(lambda o: nn.GroupNorm(4, o), "nearest"), 3, 32, 32),
    "linknet": plain(lambda: UNet(up="bilinear", join="add"), 3, 32, 32), "unetpp": plain(UNetPlusPlus, 3, 32, 32),
    "retinanet_pan": plain(Detector, 3, 64, 64), "yolo_decoded": plain(lambda: Detector(True), 3, 64, 64),
    "bifpn": plain(BiFPN, 3, 32, 32), "hrnet": plain(HRNet, 3, 32, 32), "hourglass": plain(Hourglass, 3, 32, 32),
    "pspnet": plain(PyramidPooling, 3, 48, 48), "edsr": plain(SuperResolution, 3, 16, 16), "cyclegan": plain(Generator, 3, 32, 32),
    "autoencoder": plain(AutoEncoder, 3, 32, 32), "mlp_mixer": plain(Mixer, 3, 32, 32), "poolformer": stack(PoolFormer),
    "deit": plain(DeiT, 3, 32, 32), "mobilevit": plain(MobileViT, 3, 32, 32), "shifted_windows": plain(Windows, 3, 32, 32),
    "convmixer": stack(ConvMixer), "efficientvit": stack(LinearAttention), "siamese": plain(Siamese, 6, 32, 32),
    "oldnet": plain(OldNet, 3, 32, 32), "preprocess": plain(Preprocess, 3, 16, 16), "embedder": plain(Embedder, 3, 32, 32),
    "tcn": plain(Temporal, 8, 40),
}
