# The outer oracle: torchvision's resnet18 with random weights, saved by torch in every way that people use, loads into the
# zoo's resnet18 and computes what torch computes. Skipped where Python has no torch (Debian: python3-torchvision).
for python in python3 /usr/bin/python3; do
    "$python" -c 'import torch, torchvision' 2> /dev/null && break
    python=
done
[ -n "$python" ] || { echo "no python3 with torchvision" >&2; exit 77; }

"$python" - 2> /dev/null << 'PYTHON' || exit 1
import collections, os
import numpy, torch, torchvision
torch.manual_seed(1)
torch.set_num_threads(1)
net = torchvision.models.resnet18()
for module in net.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        module.running_mean.normal_(0, 0.1)
        module.running_var.uniform_(0.5, 1.5)
        module.weight.data.uniform_(0.5, 1.5)
        module.bias.data.normal_(0, 0.1)
weights = net.state_dict()
floats = lambda to: {k: to(v) if v.is_floating_point() else v for k, v in weights.items()}
optimizer = torch.optim.Adam(net.parameters())
torch.save(weights, 'plain.pth')
torch.save({'epoch': 3, 'best': 0.5, 'optimizer': optimizer.state_dict(), 'scheduler': collections.Counter([1]),
            'state_dict': collections.OrderedDict(('module.' + k, v) for k, v in weights.items())}, 'checkpoint.pt')
torch.save(dict(net.named_parameters()) | dict(net.named_buffers()), 'parameters.pt', pickle_protocol=4)
torch.save(floats(lambda v: v.double()), 'double.pt', pickle_protocol=5)
torch.save(floats(lambda v: v.half()), 'half.pt')
torch.save(floats(lambda v: v.bfloat16()), 'bfloat16.pt')
torch.save(floats(lambda v: v.permute(*reversed(range(v.dim()))).contiguous().permute(*reversed(range(v.dim())))),
           'strided.pt')
torch.save(net, 'module.pt')
torch.save(weights, 'legacy.pt', _use_new_zipfile_serialization=False)
torch.save({'model': weights, 'ema': floats(lambda v: v.half())}, 'old_checkpoint.pt', _use_new_zipfile_serialization=False)
torch.jit.script(net.eval()).save('script.pt')
class Evil:
    def __reduce__(self):
        return os.system, ('touch executed',)
torch.save({**weights, 'evil': Evil()}, 'evil.pt')
x = torch.randn(1, 3, 224, 224)
numpy.save('x.npy', x.numpy())
with torch.no_grad():
    numpy.save('y.npy', net.eval()(x).numpy())
PYTHON

"$LEGODNN" zoo new resnet18 -q -o fresh.json || exit 1
compare() {
    "$LEGODNN" infer loaded.safetensors --input x.npy -q -o got.npy || exit 1
    "$python" -c "import numpy, sys; y, g = numpy.load('y.npy'), numpy.load('got.npy'); \
e = abs(y - g).max() / abs(y).max(); sys.exit('%s: off by %g' % (sys.argv[1], e) if not e <= $2 else 0)" "$1" || exit 1
}
for name in plain.pth parameters.pt double.pt strided.pt legacy.pt; do
    "$LEGODNN" weights fresh.json --from "$name" -q -o loaded.safetensors || exit 1
    compare "$name" 1e-4
done
"$LEGODNN" weights fresh.json --from checkpoint.pt --strip-prefix module. -q -o loaded.safetensors || exit 1
compare checkpoint.pt 1e-4
"$LEGODNN" weights fresh.json --from half.pt -q -o loaded.safetensors || exit 1
compare half.pt 5e-3
"$LEGODNN" weights fresh.json --from bfloat16.pt -q -o loaded.safetensors || exit 1
compare bfloat16.pt 5e-2

"$LEGODNN" weights fresh.json --from old_checkpoint.pt --key ema -q -o loaded.safetensors || exit 1
compare old_checkpoint.pt 5e-3

for name in module old_checkpoint script evil; do
    if "$LEGODNN" weights fresh.json --from "$name.pt" -q -o refused.safetensors; then exit 1; fi
done 2> refused
[ ! -e executed ] || { echo "the pickle was executed"; exit 1; }
[ ! -e refused.safetensors ] || exit 1
cat refused
