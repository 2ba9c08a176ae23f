# The command on what it needs of a TorchScript file; tests/unit/test_torch_script has the operators. Skipped where Python
# has no torch to write one (Debian: python3-torch).
for python in python3 /usr/bin/python3; do
    "$python" -c 'import torch' 2> /dev/null && break
    python=
done
[ -n "$python" ] || { echo "no python3 with torch" >&2; exit 77; }

cat > make.py << 'PYTHON' # torch.jit.script reads the source: a file
import numpy, torch
torch.manual_seed(1)
nn = torch.nn
net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1),
                    nn.Flatten(), nn.Linear(8, 4)).eval()
x = torch.randn(2, 3, 9, 9)
numpy.save('x.npy', x.numpy())
with torch.no_grad():
    numpy.save('y.npy', net(x).numpy())
torch.jit.script(net).save('scripted.pt')
torch.jit.trace(net, x[:1]).save('traced.pt')
torch.jit.freeze(torch.jit.script(net)).save('frozen.pt')
torch.save(net.state_dict(), 'weights.pt')
class Odd(nn.Module):
    def forward(self, x):
        return torch.cumsum(torch.fft.fft2(x).real, 1)
torch.jit.script(Odd()).save('odd.pt')
PYTHON
"$python" make.py 2> /dev/null || exit 1

for name in scripted traced frozen; do
    "$LEGODNN" import "$name.pt" --input 1x3x9x9 -q -o "$name.safetensors" || exit 1
    "$LEGODNN" infer "$name.safetensors" --input x.npy -q -o got.npy || exit 1
    "$python" -c "import numpy, sys; sys.exit(not abs(numpy.load('y.npy') - numpy.load('got.npy')).max() < 1e-5)" ||
        { echo "$name: other numbers than torch"; exit 1; }
done
"$LEGODNN" weights scripted.safetensors --from weights.pt -q -o same.safetensors &&
    cmp -s scripted.safetensors same.safetensors || { echo "names or weights differ from the state dict's"; exit 1; }
try() {
    code=0
    "$LEGODNN" import "$@" -q -o refused.safetensors 2> err || code=$?
    echo "$code: $(cat err)"
}
try scripted.pt
try weights.pt --input 1x3x9x9
try odd.pt --input 1x3x9x9
try scripted.pt --input 1x5x9x9
