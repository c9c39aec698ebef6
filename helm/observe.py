#!/usr/bin/env python3
"""Each query of the dashboards and each rule, against a real Prometheus that scraped the running services.

observe.py BINARY [PLOTS]   starts `warranty up` and Prometheus, walks claims through, asks. 1 where a query has no answer.
With a folder PLOTS every panel is drawn there as SVG, from what Prometheus answers over the run."""
import datetime, html, json, math, os, pathlib, re, shutil, signal, subprocess, sys, time, urllib.parse, urllib.request

BINARY, PLOTS = os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
HERE = pathlib.Path(__file__).resolve().parent
PLACE = HERE.parent / "target" / "observability"
PORT, PROMETHEUS = 7850, 7860
SECONDS = int(os.environ.get("OBSERVE_SECONDS", "70"))  # The clock counts every 30.


def get(path, **parameters):
    url = f"http://127.0.0.1:{PROMETHEUS}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    return json.load(urllib.request.urlopen(url, timeout=10))["data"]


def wait(url):
    for _ in range(600):
        try:
            return urllib.request.urlopen(url, timeout=2)
        except OSError:
            time.sleep(0.2)
    sys.exit(f"{url} does not answer")


def panels():
    for path in sorted(HERE.glob("files/dashboard-*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "short")
                yield path.stem, f"{panel['title']} [{unit}]", target["expr"].replace("$__rate_interval", "15s"), target.get("legendFormat", "")


def traffic():
    """Claims of every way, some left open, and units that were swapped."""
    names = {"COVERAGE_ADDRESS": 1, "CLAIM_ADDRESS": 2, "LOGISTICS_ADDRESS": 3, "ISSUER_URL": 0}
    env = os.environ | {f"WARRANTY_{name}": f"http://127.0.0.1:{PORT + port}" for name, port in names.items()}
    def call(method, kind, **request):
        answer = subprocess.run([BINARY, "call", method, json.dumps(request), "--as", kind], env=env, capture_output=True, text=True, check=True)
        return json.loads(answer.stdout)

    today = datetime.date.today()
    day = {"year": today.year, "month": today.month, "day": today.day}
    for number in range(3):
        serials = [f"OBSERVED{number}{letter}" for letter in "AB"]
        units = [{"serial": serial, "model": "AOP-PS-0804", "manufactured_date": day, "ex_factory_date": day, "sold_by_maker": True} for serial in serials]
        call("RegistryService/RegisterUnits", "registry", units=units)
        customer = {"contact": {"name": "Observed", "telephone": "13800000000"}}
        call("RegistryService/RegisterSale", "dealer", serial=serials[0], sold_date=day, invoice_number=f"OBS{number}", region="CN-GD", customer=customer)
        report = {"part": "PART_HOST", "fault_code": "NO_POWER", "performance_fault": True, "appearance": "APPEARANCE_INTACT"}
        claim = call("ClaimService/FileClaim", "dealer", serial=serials[0], report=report)["claim"]
        if number:
            call("ClaimService/RecordGuidance", "support", claim_id=claim["claimId"], outcome="GUIDANCE_OUTCOME_CONFIRMED")
            call("ClaimService/RecordSwap", "dealer", claim_id=claim["claimId"], given_serial=serials[1])
    watch = subprocess.Popen([BINARY, "watch", "--as", "dealer"], env=env, stdout=subprocess.DEVNULL)
    end = time.time() + SECONDS
    while time.time() < end:
        subprocess.run([BINARY, "walk"], env=env, stdout=subprocess.DEVNULL)
        time.sleep(2)
    watch.terminate()
    watch.wait()


def legend(form, labels):
    """A series' name, as Grafana makes it of the panel's format."""
    return re.sub(r"{{ *(\w+) *}}", lambda name: labels.get(name[1], ""), form) or ", ".join(labels.values())


def draw(dashboard, title, lines, number, first, last):
    """`lines` by their names, each a list of times and values."""
    width, height = 480, 220
    points = [value for line in lines.values() for _, value in line if math.isfinite(value)]
    if not points:
        return
    top = max(points) or 1
    x = lambda t: 45 + (width - 175) * (t - first) / (last - first)
    y = lambda v: height - 25 - (height - 60) * v / top
    colors = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"]
    text = lambda at, down, size, words, fill="black": f'<text x="{at}" y="{down}" font-size="{size}" font-family="sans-serif" fill="{fill}">{html.escape(words)}</text>'
    drawn = [text(10, 18, 12, title), text(4, 40, 9, f"{top:.4g}"), text(4, height - 25, 9, "0")]
    drawn += [text(45, height - 8, 9, f"{last - first:.0f} s ago"), text(width - 145, height - 8, 9, "now")]
    for index, (name, line) in enumerate(lines.items()):
        path = " ".join(f"{x(t):.1f},{y(v):.1f}" for t, v in line if math.isfinite(v))
        drawn.append(f'<polyline fill="none" stroke="{colors[index % 10]}" stroke-width="1.5" points="{path}"/>')
        drawn.append(text(width - 125, 40 + 11 * index, 8, name.removeprefix("aopre.warranty.v1.")[-30:], colors[index % 10]))
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"><rect width="100%" height="100%" fill="white"/>{"".join(drawn)}</svg>'
    pathlib.Path(PLOTS, f"{dashboard}-{number:02}.svg").write_text(svg)


def ask():
    silent = []
    for number, (dashboard, title, query, form) in enumerate(panels()):
        answer = get("query", query=query)["result"]
        values = [float(series["value"][1]) for series in answer]
        print(f"{dashboard:24} {title[:48]:48} {len(values):3} series  {', '.join(f'{v:.4g}' for v in values[:6])}")
        if not any(math.isfinite(value) for value in values):
            silent.append(f"{dashboard}: {title}: {query}")
        if PLOTS:
            now = time.time()
            series = get("query_range", query=query, start=now - SECONDS, end=now, step=1)["result"]
            lines = {legend(form, one["metric"]): [(float(t), float(v)) for t, v in one["values"]] for one in series}
            draw(dashboard, title, lines, number, now - SECONDS, now)
    for group in get("rules")["groups"]:
        silent += [f"rule {rule['name']}: {rule['lastError']}" for rule in group["rules"] if rule["health"] != "ok"]
        silent += [f"alert {rule['name']} fires" for rule in group["rules"] if rule.get("state") == "firing"]
    return silent


def main():
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    if PLOTS:
        pathlib.Path(PLOTS).mkdir(parents=True, exist_ok=True)
    scraped = [{"job_name": f"warranty-{name}", "static_configs": [{"targets": [f"127.0.0.1:{PORT + 4 + number}"]}]}
               for number, name in enumerate(["coverage", "claim", "logistics"])]
    config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(HERE / "files/alerts.yaml")], "scrape_configs": scraped}
    (PLACE / "prometheus.yml").write_text(json.dumps(config))
    # Below /tmp: PostgreSQL's own user must be able to come in.
    data = pathlib.Path("/var/tmp", f"warranty-observe-{os.getpid()}")
    running = []
    try:
        with open(PLACE / "log", "w") as log:
            up = [BINARY, "up", "--port", str(PORT)]
            running.append(subprocess.Popen(up, env=os.environ | {"WARRANTY_DATA": str(data)}, stdout=log, stderr=log))
            running.append(subprocess.Popen(["prometheus", f"--config.file={PLACE}/prometheus.yml", f"--storage.tsdb.path={PLACE}/tsdb",
                                             f"--web.listen-address=127.0.0.1:{PROMETHEUS}"], stdout=log, stderr=log))
            for number in range(3):
                wait(f"http://127.0.0.1:{PORT + 4 + number}/readyz")
            wait(f"http://127.0.0.1:{PROMETHEUS}/-/ready")
            traffic()
            silent = ask()
    finally:
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            process.wait()
        shutil.rmtree(data, ignore_errors=True)
    for line in silent:
        print(f"no answer, or a fault: {line}", file=sys.stderr)
    sys.exit(bool(silent))


main()
