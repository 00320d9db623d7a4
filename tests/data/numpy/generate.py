"""Writes the arrays that tests/suite/readers.rs reads: `python generate.py` in this folder, with numpy 2."""

import numpy as np

x = np.arange(24).reshape(2, 3, 4)
np.save("float32.npy", x.astype("<f4") / 8)
np.save("float64_fortran.npy", np.asfortranarray(x.astype("<f8") / 8))
np.save("int16_big_endian.npy", (x - 12).astype(">i2"))
np.save("int64.npy", x.astype("<i8") - 12)
np.save("bool.npy", x % 3 == 0)
np.save("scalar.npy", np.float32(2.5))
np.save("empty.npy", np.zeros((0, 3), "<f4"))
np.save("complex.npy", x.astype("<c8"))
np.savez("stored.npz", images=x.astype("u1"), labels=np.array([1, 0]))
np.savez_compressed("deflated.npz", images=x.astype("u1"), labels=np.array([1, 0]))
