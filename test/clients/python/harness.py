"""Runs the functions test_* of a module, each with the server's URL; prints one JSON line per function."""
import json
import sys
import traceback


def run(names):
    url = sys.argv[1]
    for name, function in list(names.items()):
        if not name.startswith("test_"):
            continue
        try:
            function(url)
            print(json.dumps({"name": name}), flush=True)
        except Exception as error:
            lines = traceback.format_exc().strip().splitlines()
            shown = "\n".join(lines[-12:])
            print(json.dumps({"name": name, "error": f"{error}\n{shown}"}), flush=True)
