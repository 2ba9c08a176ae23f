"""Small architectures over one spatial axis (sound, series) and three (clips, medical volumes).

AXES maps a name to a builder of (model, shape of the input), as FAMILIES does.
"""
import torch
from torch import nn
from torch.nn import functional as F


# --- three axes ---
def conv3(i, o, k=3, stride=1, groups=1, act=nn.ReLU, norm=nn.BatchNorm3d):
    k = k if isinstance(k, tuple) else (k, k, k)
    return nn.Sequential(nn.Conv3d(i, o, k, stride, tuple(n // 2 for n in k), groups=groups, bias=False), norm(o),
                         act() if act else nn.Identity())


class UNet3d(nn.Module):
    """3-D U-Net: strided transposed convolutions or trilinear resizing up, skips joined, instance or group norm."""

    def __init__(self, up="transpose", norm=lambda o: nn.InstanceNorm3d(o, affine=True)):
        super().__init__()
        w = (8, 16, 32)
        self.down = nn.ModuleList(nn.Sequential(conv3(i, o // 2, norm=norm), conv3(o // 2, o, norm=norm))
                                  for i, o in zip((1,) + w, w))
        self.up = nn.ModuleList(nn.ConvTranspose3d(o, o, 2, 2) if up == "transpose" else
                                nn.Upsample(scale_factor=2, mode="trilinear", align_corners=False) for o in w[:0:-1])
        self.join = nn.ModuleList(nn.Sequential(conv3(o + i, i, norm=norm), conv3(i, i, norm=norm))
                                  for o, i in zip(w[:0:-1], w[-2::-1]))
        self.out = nn.Conv3d(w[0], 3, 1)

    def forward(self, x):
        skips = []
        for i, down in enumerate(self.down):
            x = down(F.max_pool3d(x, 2) if i else x)
            skips.append(x)
        for up, join, skip in zip(self.up, self.join, skips[-2::-1]):
            x = join(torch.cat((skip, up(x)), 1))
        return self.out(x)


class VNet(nn.Module):
    """V-Net: residual sums, strided convolutions down, PReLU, a large kernel."""

    def __init__(self):
        super().__init__()
        self.stem = conv3(1, 8, 5, act=lambda: nn.PReLU(8))
        self.down, self.body = nn.Conv3d(8, 16, 2, 2), conv3(16, 16, 5, act=lambda: nn.PReLU(16))
        self.up, self.last, self.out = nn.ConvTranspose3d(16, 8, 2, 2), conv3(16, 16, 5, act=None), nn.Conv3d(16, 2, 1)

    def forward(self, x):
        a = self.stem(x)
        b = F.relu(self.down(a))
        b = b + self.body(b)
        y = torch.cat((F.relu(self.up(b)), a), 1)
        return torch.softmax(self.out(F.relu(y + self.last(y))), 1)


class X3D(nn.Module):
    """X3D: a temporal stem, depthwise 3x3x3 convolutions, squeeze and excitation, swish."""

    class Unit(nn.Module):
        def __init__(self, i, o, stride):
            super().__init__()
            wide = 2 * o
            self.expand, self.deep = conv3(i, wide, 1), conv3(wide, wide, 3, (1, stride, stride), wide, act=None)
            self.excite = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Conv3d(wide, 8, 1), nn.ReLU(), nn.Conv3d(8, wide, 1),
                                        nn.Sigmoid())
            self.project, self.same = conv3(wide, o, 1, act=None), i == o and stride == 1

        def forward(self, x):
            y = self.deep(self.expand(x))
            y = self.project(F.silu(y * self.excite(y)))
            return x + y if self.same else y

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(3, 16, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False),
                                  conv3(16, 16, (5, 1, 1), groups=16))
        self.units = nn.Sequential(self.Unit(16, 16, 1), self.Unit(16, 24, 2), self.Unit(24, 24, 1))
        self.fc = nn.Linear(24, 7)

    def forward(self, x):
        return self.fc(self.units(self.stem(x)).mean((2, 3, 4)))


class SlowFast(nn.Module):
    """SlowFast: two paths, one sees every fourth frame; lateral convolutions stride over time."""

    def __init__(self):
        super().__init__()
        self.slow = nn.ModuleList((conv3(3, 16, (1, 5, 5), (1, 2, 2)), conv3(16 + 8, 32, (1, 3, 3), (1, 2, 2))))
        self.fast = nn.ModuleList((conv3(3, 4, (5, 5, 5), (1, 2, 2)), conv3(4, 8, (3, 3, 3), (1, 2, 2))))
        self.lateral, self.fc = nn.Conv3d(4, 8, (5, 1, 1), (4, 1, 1), (2, 0, 0)), nn.Linear(40, 6)

    def forward(self, x):
        slow, fast = self.slow[0](x[:, :, ::4]), self.fast[0](x)
        slow = self.slow[1](F.max_pool3d(torch.cat((slow, self.lateral(fast)), 1), (1, 3, 3), (1, 2, 2), (0, 1, 1)))
        fast = self.fast[1](F.max_pool3d(fast, (1, 3, 3), (1, 2, 2), (0, 1, 1)))
        pooled = [F.adaptive_avg_pool3d(y, 1).flatten(1) for y in (slow, fast)]
        return self.fc(torch.cat(pooled, 1))


class I3D(nn.Module):
    """Inflated Inception: branches of 3-D convolutions and pools that round up."""

    def __init__(self):
        super().__init__()
        self.stem = conv3(3, 16, 7, 2)
        self.a, self.b = conv3(16, 8, 1), nn.Sequential(conv3(16, 8, 1), conv3(8, 12))
        self.c, self.d = nn.Sequential(conv3(16, 4, 1), conv3(4, 8)), conv3(16, 8, 1)
        self.head = nn.Conv3d(36, 5, 1)

    def forward(self, x):
        x = F.max_pool3d(self.stem(x), (1, 3, 3), (1, 2, 2), ceil_mode=True)
        x = torch.cat((self.a(x), self.b(x), self.c(x), self.d(F.max_pool3d(x, 3, 1, 1))), 1)
        x = F.avg_pool3d(x, (2, 3, 3), (1, 1, 1))
        return self.head(F.dropout(x, 0.5, self.training)).mean((2, 3, 4))


# --- one axis ---
class AudioUNet(nn.Module):
    """Demucs and Wave-U-Net: strided convolutions down, gated ones, transposed ones up, skips added."""

    def __init__(self):
        super().__init__()
        w = (2, 16, 32, 48)
        self.down = nn.ModuleList(nn.Conv1d(i, o, 8, 4, 2) for i, o in zip(w, w[1:]))
        self.gate = nn.ModuleList(nn.Conv1d(o, 2 * o, 1) for o in w[1:])
        self.up = nn.ModuleList(nn.ConvTranspose1d(o, i, 8, 4, 2) for i, o in zip(w[::-1][1:], w[:0:-1]))

    def forward(self, x):
        skips = []
        for down, gate in zip(self.down, self.gate):
            x = F.relu(down(x))
            a, b = gate(x).chunk(2, 1)
            x = a * torch.sigmoid(b)
            skips.append(x)
        for up, skip in zip(self.up, skips[::-1]):
            x = up(x + skip)
            x = x if x.shape[1] == 2 else F.relu(x)
        return x


class WaveNet(nn.Module):
    """WaveNet: dilated convolutions, tanh times sigmoid, residual and skip sums."""

    def __init__(self, width=16, n=4):
        super().__init__()
        self.stem = nn.Conv1d(1, width, 1)
        self.filter = nn.ModuleList(nn.Conv1d(width, width, 3, padding=2 ** i, dilation=2 ** i) for i in range(n))
        self.gate = nn.ModuleList(nn.Conv1d(width, width, 3, padding=2 ** i, dilation=2 ** i) for i in range(n))
        self.res, self.skip = (nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(n)) for _ in range(2))
        self.out = nn.Sequential(nn.ReLU(), nn.Conv1d(width, width, 1), nn.ReLU(), nn.Conv1d(width, 8, 1))

    def forward(self, x):
        x, skips = self.stem(x), []
        for f, g, res, skip in zip(self.filter, self.gate, self.res, self.skip):
            y = torch.tanh(f(x)) * torch.sigmoid(g(x))
            skips.append(skip(y))
            x = x + res(y)
        return self.out(sum(skips[1:], skips[0]))


class M5(nn.Module):
    """Classification of raw sound: wide strided kernels, pools, batch norm, global average."""

    def __init__(self):
        super().__init__()
        widths = ((1, 16, 40, 4), (16, 16, 3, 1), (16, 32, 3, 1))
        self.features = nn.Sequential(*(nn.Sequential(nn.Conv1d(i, o, k, s), nn.BatchNorm1d(o), nn.ReLU(), nn.MaxPool1d(4))
                                        for i, o, k, s in widths))
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        y = self.features(x)
        return self.fc(F.avg_pool1d(y, int(y.shape[-1])).squeeze(-1))


class MatchboxNet(nn.Module):
    """Keyword spotting: depthwise separable convolutions over time, resizing back up."""

    def __init__(self):
        super().__init__()
        def unit(i, o, k):
            return nn.Sequential(nn.Conv1d(i, i, k, padding=k // 2, groups=i), nn.Conv1d(i, o, 1), nn.BatchNorm1d(o))
        self.a, self.b, self.short = unit(16, 32, 11), unit(32, 32, 13), nn.Conv1d(16, 32, 1)
        self.out = nn.Conv1d(32, 6, 1)

    def forward(self, x):
        y = F.relu(self.b(F.relu(self.a(x))) + self.short(x))
        y = F.interpolate(F.avg_pool1d(y, 3, 2, 1), size=x.shape[-1], mode="linear", align_corners=False)
        return self.out(F.relu(y))


def plain(make, *shape):
    return lambda: (make(), shape)


AXES = {
    "unet3d": plain(UNet3d, 1, 16, 16, 16),
    "unet3d_trilinear": plain(lambda: UNet3d("trilinear", lambda o: nn.GroupNorm(4 if o % 4 == 0 else 1, o)), 1, 16, 16, 8),
    "vnet": plain(VNet, 1, 8, 16, 16), "x3d": plain(X3D, 3, 5, 32, 32), "slowfast": plain(SlowFast, 3, 8, 32, 32),
    "i3d": plain(I3D, 3, 9, 33, 33), "audio_unet": plain(AudioUNet, 2, 512), "wavenet": plain(WaveNet, 1, 200),
    "m5": plain(M5, 1, 2000), "matchboxnet": plain(MatchboxNet, 16, 65),
}
