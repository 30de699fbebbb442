import io
import math

import matplotlib.pyplot as plt
from matplotlib.backends.backend_pdf import PdfPages

G = 9.81


def trajectory(v, angle, steps=60):
    a = math.radians(angle)
    t_end = 2 * v * math.sin(a) / G
    ts = [t_end * i / steps for i in range(steps + 1)]
    return [v * math.cos(a) * t for t in ts], [v * math.sin(a) * t - G * t * t / 2 for t in ts]


def main(speeds=(10, 20, 30), angles=(30, 45, 60)):
    with PdfPages("trajectories.pdf", metadata={"CreationDate": None}) as pdf:
        for v in speeds:
            fig, ax = plt.subplots()
            for a in angles:
                xs, ys = trajectory(v, a)
                ax.plot(xs, ys, label=f"{a}°")
                print(f"v={v:2d} m/s angle={a}: range {xs[-1]:6.2f} m, height {max(ys):5.2f} m")
            ax.legend()
            ax.set_title(f"v = {v} m/s")
            pdf.savefig(fig)
            plt.close(fig)

    # thumbnail kept in memory only
    buf = io.BytesIO()
    plt.plot([0, 1], [0, 1])
    plt.savefig(buf, format="png", dpi=40)
    print("PNG in memory:", buf.getvalue()[:8] == b"\x89PNG\r\n\x1a\n")


main()
