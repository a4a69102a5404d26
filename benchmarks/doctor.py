"""Does the doctor find planted illnesses, and leave healthy models in peace? What do its remedies do, and how long?

    python benchmarks/doctor.py [--parts faults healthy mend time gallery] [--sets digits mnist wine] [--only collapse]

Each fault is planted in a model of its own on each set; it counts as found if a finding has its name. A healthy model
is accused if there is a finding that is more than mild. The limits of the checks were chosen on other sets
(`--sets fashion pendigits omniglot breast_cancer`), whose figures are not stored. See `_faults.py` for what is planted.
`gallery` looks at the runs that `gallery.py` has left in runs/gallery, and is left out where there are none.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from _faults import CALIBRATION, FAULTS, FINAL, HEALTHY, SETS, Data, Patient, fitted
from _measuring import store

PARTS = ("faults", "healthy", "mend", "time", "gallery")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(FINAL))
    parser.add_argument("--only", default="", help="faults whose label or name contains this")
    parser.add_argument("--dry", action="store_true", help="store nothing")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    is_final = not given.dry and not given.only and not set(given.sets) & set(CALIBRATION)
    for part in given.parts:
        if part == "gallery":
            gallery(given.only, is_stored=is_final)
            continue
        for name in given.sets:
            if part == "faults" and name == "frey":
                continue  # three sets for faults, four for healthy models
            if (part == "time" and name != "mnist") or (part == "mend" and name != "digits"):
                continue
            figures = RUN[part](SETS[name](), given.only)
            if is_final and figures:
                store("doctor", {f"{part} {name}": figures}, merge=True)


def faults(data: Data, only: str) -> dict[str, Any]:
    """Which findings each planted fault has."""
    rows: dict[str, Any] = {}
    for label, (problem, name, plant) in FAULTS.items():
        if only not in label and only not in name:
            continue
        start = time.perf_counter()
        patient = plant(data)
        if patient is None:
            continue
        planted = time.perf_counter() - start
        diagnosis, seconds = examined(patient)
        outcome = diagnosis[name]
        found, measure = list(diagnosis.names), getattr(outcome, "measure", None)
        is_found = name in found
        rows[label] = {
            "problem": problem,
            "name": name,
            "is_found": is_found,
            "severity": getattr(outcome, "severity", None),
            "is_first": bool(found) and found[0] == name,
            "findings": found,
            "measure": None if measure is None else round(measure.value, 4),
            "seconds": round(seconds, 1),
        }
        print(f"{data.name:<14}{'ok' if is_found else 'MISSED':<8}{label:<46} {name:<26}{found}", end=" ")
        print(f"{measure or outcome.reason} ({planted:.0f} + {seconds:.0f} s)", flush=True)
    return rows


def healthy(data: Data, only: str) -> dict[str, Any]:
    """Which findings healthy models have."""
    rows: dict[str, Any] = {}
    for label, make in HEALTHY.items():
        if only not in label:
            continue
        rows[label] = accused(data.name, label, make(data))
    return rows


def gallery(only: str, *, is_stored: bool) -> None:
    """Which findings the runs of the gallery have, whose training was as short as their captions say."""
    from gallery import RUNS, SETS, load

    from latentkit import load as load_run

    rows: dict[str, Any] = {}
    for name in SETS:
        for run in sorted(RUNS.glob(f"*-{name}")):
            if only in run.name:
                images, _ = load(name)
                rows[run.name] = accused(name, run.name, Patient(load_run(run), images))
    if is_stored and rows:
        store("doctor", {"gallery": rows}, merge=True)


def accused(data: str, label: str, patient: Patient) -> dict[str, Any]:
    """What is found on a model that ought to be in peace."""
    diagnosis, seconds = examined(patient)
    findings = [each.name for each in diagnosis.grave]
    remarks = [each.name for each in diagnosis.findings if each.severity == "mild"]
    print(f"{data:<16}{'ACCUSED' if findings else 'ok':<8}{label:<32}{findings} {remarks} ({seconds:.0f} s)")
    for outcome in (*diagnosis.findings, *diagnosis.healthy):
        measure = outcome.measure
        mark = " <<<" if measure.is_ill else ""
        print(f"    {outcome.name:<26}{measure.value:>12.4g}  limit {measure.limit}{mark}", flush=True)
    return {"accused": findings, "remarks": remarks, "seconds": round(seconds, 1)}


def examined(patient: Patient) -> tuple[Any, float]:
    from latentkit.doctor import diagnose

    start = time.perf_counter()
    diagnosis = diagnose(patient.estimator, patient.data, held_out=patient.held_out)
    return diagnosis, time.perf_counter() - start


#: Illnesses that a remedy shall mend, by their label: the settings that make a healthy model.
MENDED = {
    "KL term of weight 300": {},
    "posteriors far from N(0, I)": {"ex_post": "none"},
    "rate of 0.3": {},
    "standard deviation fixed far from the error": {},
    "wide networks, 120 rows, no rows held out": {},
    "wide encoder, narrow decoder, 150 pictures": {},
    "standard deviation 1 on pictures": {},
}


def mend(data: Data, only: str) -> dict[str, Any]:
    """How far each remedy brings the measure of its illness to that of a healthy model."""
    from latentkit.doctor import diagnose
    from latentkit.doctor import mend as apply

    rows: dict[str, Any] = {}
    well = fitted(data, likelihood="gaussian", seed=1)
    for label, settings in MENDED.items():
        _, name, plant = FAULTS[label]
        if only not in label and only not in name:
            continue
        patient = plant(data)
        assert patient is not None, "these faults are for every set"
        before = diagnose(patient.estimator, patient.data, held_out=patient.held_out)
        mending = apply(patient.estimator, patient.data, diagnosis=before, held_out=patient.held_out)
        reference = well if not settings else fitted(data, seed=1)
        aim = diagnose(reference, data.train, only=[name])[name]
        values = [getattr(each[name], "measure", None) for each in (before, mending.after)]
        first, last = (None if each is None else each.value for each in values)
        goal = aim.measure.value if hasattr(aim, "measure") else None
        share = None if None in (first, last, goal) or first == goal else (last - first) / (goal - first)
        rows[label] = {
            "name": name,
            "before": first,
            "after": last,
            "healthy": goal,
            "share_of_the_way": share,
            "settings": {key: str(value) for key, value in mending.settings.items()},
            "findings_before": list(before.names),
            "findings_after": list(mending.after.names),
        }
        print(f"{data.name:<14}{label:<46}{first} -> {last} (healthy {goal}): {share}  {mending.settings}", flush=True)
    return rows


def seconds(data: Data, only: str) -> dict[str, Any]:
    """How long a diagnosis takes of the networks and rows of a default fit to MNIST, however short the fit."""
    import numpy as np
    from _measuring import data_folder

    from latentkit import VAE

    with np.load(data_folder() / "images" / "mnist.npz") as content:
        x = content["x_train"]
    estimator = VAE(max_epochs=1, max_time=60, ex_post="none", random_state=0).fit(x)
    diagnosis, taken = examined(Patient(estimator, x))
    print(f"default fit to MNIST: {taken:.1f} s", diagnosis.names)
    return {"seconds": round(taken, 1), "rows": len(x), "findings": list(diagnosis.names)}


RUN = {"faults": faults, "healthy": healthy, "mend": mend, "time": seconds}

if __name__ == "__main__":
    main()
