"""Draws the series of a figure with gnuplot, as SVG."""

import shutil
import subprocess


def script(figure, path):
    lines = [
        "set terminal svg size 720,480 dynamic background rgb 'white' font 'sans,13'",
        f"set output {quoted(path)}",
        f"set title {quoted(figure['title'])} noenhanced",
        f"set xlabel {quoted(figure['x'])} noenhanced",
        f"set ylabel {quoted(figure['y'])} noenhanced",
        "set key outside right noenhanced",
        "set grid",
    ]
    if figure.get("log"):
        lines.append("set logscale " + figure["log"])
    curves = []
    for i, series in enumerate(figure["series"]):
        lines.append(f"$data{i} << EOD")
        lines += [f"{x:.9g} {y:.9g}" for x, y in series["points"] if y is not None]
        lines.append("EOD")
        curves.append(f"$data{i} using 1:2 with linespoints pointsize 0.5 title {quoted(series['name'])}")
    lines.append("plot " + ", ".join(curves))
    return "\n".join(lines) + "\n"


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def draw(figure, path):
    """False if there is no gnuplot."""
    if not shutil.which("gnuplot"):
        return False
    subprocess.run(["gnuplot"], input=script(figure, path), text=True, check=True)
    return True
