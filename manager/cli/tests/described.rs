//! What a service's description says is what systemd is told and what the service finds; and
//! what was taken out of it is gone.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use fixture::{eventually, sandbox::Sandbox};

/// Tells its environment to who asks.
const APP: &str = "import http.server, os\n\
    class Handler(http.server.BaseHTTPRequestHandler):\n    \
        def do_GET(self):\n        \
            self.send_response(200)\n        \
            self.end_headers()\n        \
            self.wfile.write(\"\\n\".join(f\"{n}={v}\" for n, v in os.environ.items()).encode())\n    \
        def log_message(self, *_):\n        \
            pass\n\
    http.server.HTTPServer((\"127.0.0.1\", int(os.environ[\"PORT\"])), Handler).serve_forever()\n";

const PLAIN: &str = "script = \"/home/ann/app/server.py\"\nport = 3000\n[ready]\npath = \"/\"\n";
const FULL: &str = "script = \"/home/ann/app/server.py\"\nport = 3000\n\
    otel_endpoint = \"http://127.0.0.1:4317\"\n[ready]\npath = \"/\"\n\
    [environment]\nTOKEN = \"geheim\"\n[limits]\nmemory_high = \"200MiB\"\n";

#[test]
fn what_is_described_is_so_and_what_is_taken_away_is_gone() {
    let sandbox = Sandbox::start();
    let _manager = sandbox.manager();
    sandbox.write("app/server.py", APP);
    let describe = |text: &str| sandbox.write(".config/bs9/services/web.toml", text);
    let environment = || eventually("it answers", || sandbox.get(3000, "/"));
    describe(FULL);
    sandbox.bs9(&["apply", "--yes"]).ok();
    let said = environment();
    assert!(said.contains("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317"), "{said}");
    assert!(said.contains("OTEL_SERVICE_NAME=web") && said.contains("TOKEN=geheim"), "{said}");
    assert_eq!(sandbox.property("web@1.service", "MemoryHigh"), (200 << 20).to_string());
    let secrets = sandbox.home().join(".local/state/bs9/services/environment/web.env");
    assert!(std::fs::read_to_string(&secrets).unwrap().contains("geheim"));

    describe(PLAIN);
    sandbox.bs9(&["apply", "--yes"]).ok();
    let said = environment();
    assert!(!said.contains("TOKEN") && !said.contains("OTEL_EXPORTER"), "{said}");
    assert_eq!(sandbox.property("web@1.service", "MemoryHigh"), "infinity");
    assert!(!secrets.exists(), "the file of secrets goes with the secrets");

    // One that cannot run: what serves on finds what it was started with.
    describe(FULL);
    sandbox.bs9(&["apply", "--yes"]).ok();
    sandbox.write("app/broken.py", "raise SystemExit(1)\n");
    describe(&PLAIN.replace("server.py", "broken.py"));
    sandbox.bs9(&["reload", "web"]).fails(1);
    assert!(std::fs::read_to_string(&secrets).unwrap().contains("geheim"));
}
