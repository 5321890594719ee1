"""A handler for Culvert in Python, with the standard library alone.

It prints a line for each changed row. Try it on this machine:

    culvert local --handler-command "python3 functions/examples/python/handler.py"

or name it in a configuration: function: command:python3 PATH/handler.py. It runs
unchanged in a custom runtime of Function Compute.

Culvert starts it as a server, and posts each batch of changes to /invoke. A
batch comes again until it succeeds, so do things in a way that bears repeating.
"""

import base64
import json
import os
import socketserver
import sys
import traceback
from http.server import BaseHTTPRequestHandler


def handle(record):
    """Handles one change of one row. What it raises fails this record alone."""
    key = [(k["ColumnName"], plain(k["Value"])) for k in record["PrimaryKey"]]
    # A list of changes rather than a dict, as one change of a row may touch
    # several versions of a column. A deleted column has the value None.
    columns = [(c["ColumnName"], plain(c["Value"])) for c in record["Columns"]]

    for name, value in columns:
        if name == "amount" and type(value) not in (int, float, type(None)):
            raise ValueError(f"its amount {value!r} is not a number")

    print(record["Type"], *(f"{name}={value}" for name, value in key + columns))


def plain(value):
    """A value of the event as Python has it."""
    if isinstance(value, dict):
        if "Base64" in value:  # a blob
            return base64.b64decode(value["Base64"])
        return float(value["Double"])  # NaN and the infinities, which JSON lacks
    return value


def invoke(event):
    """Handles a batch. The answer names the records that failed: they come
    again, with those of the same row behind them. The others are done."""
    batch, failures = event["Batch"], []
    for record in event["Records"]:
        try:
            handle(record)
        except Exception as failure:
            print(f"record {record['Id']} of batch {batch['Id']} failed: {failure}")
            failures.append({"itemIdentifier": record["Id"]})
    return {"batchItemFailures": failures}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            status, answer = 200, invoke(json.loads(body))
        except Exception as failure:  # fails the whole batch
            traceback.print_exc()
            status, answer = 404, {"errorType": type(failure).__name__, "errorMessage": str(failure)}
        answer = json.dumps(answer).encode()
        self.send_response(status)
        # Without this header Function Compute takes any status for a success.
        self.send_header("x-fc-status", str(status))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        """Prints nothing for a request; the rows are said already."""


class Server(socketserver.TCPServer):  # and not HTTPServer, which asks the DNS for this machine's name
    allow_reuse_address = True


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # or lines would come late
    # One event comes at a time, so one thread is enough. Function Compute
    # reaches the server from outside: it must listen on every address.
    with Server(("0.0.0.0", int(os.environ.get("FC_SERVER_PORT", "9000"))), Handler) as server:
        server.serve_forever()
