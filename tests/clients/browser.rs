//! The page of journeys, in a browser without a window, driven by WebDriver (<https://www.w3.org/TR/webdriver2/>).

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::demo::{Demo, eventually};
use super::processes::{program, run};

/// A browser. Ended when dropped, with its driver.
struct Browser {
    driver: Child,
    url: String,
    session: String,
}

impl Browser {
    fn start(demo: &Demo) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new(program("chromedriver", "chromium-driver"))
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut browser = Self { driver, url: format!("http://127.0.0.1:{port}"), session: String::new() };
        eventually("the driver answers", || {
            Command::new("curl")
                .args(["-sf", "-o", "/dev/null", &format!("{}/status", browser.url)])
                .status()
                .unwrap()
                .success()
        });
        let profile = format!("--user-data-dir={}", demo.path("browser").display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,1000",
            &profile,
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions":
            {"binary": program("chromium", "chromium"), "args": arguments}}}});
        let made = browser.post("/session", &wanted);
        browser.session = format!("/session/{}", made["sessionId"].as_str().unwrap());
        browser
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let output = run(Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "60", "-H", "Content-Type: application/json"])
            .args(["-d", &body.to_string()])
            .arg(format!("{}{path}", self.url)));
        let answer: Value = serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"));
        let value = answer["value"].clone();
        assert!(value["error"].is_null(), "{path}: {value}");
        value
    }

    fn open(&self, url: &str) {
        self.post(&format!("{}/url", self.session), &json!({"url": url}));
    }

    /// What a script in the page returns.
    fn run(&self, script: &str) -> Value {
        self.post(&format!("{}/execute/sync", self.session), &json!({"script": script, "args": []}))
    }

    fn text(&self) -> String {
        self.run("return document.body.innerText").as_str().unwrap().to_owned()
    }

    /// A picture of the page, PNG.
    fn picture(&self) -> Vec<u8> {
        let output = run(Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "60"])
            .arg(format!("{}{}/screenshot", self.url, self.session)));
        let answer: Value = serde_json::from_str(&output).unwrap();
        data_encoding::BASE64.decode(answer["value"].as_str().unwrap().as_bytes()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session.
        let session = format!("{}{}", self.url, self.session);
        let _ended = Command::new("curl").args(["-s", "--max-time", "10", "-X", "DELETE", &session]).output();
        let _killed = self.driver.kill();
        let _reaped = self.driver.wait();
    }
}

/// The outcomes that the track of the newest request shows.
const NEWEST: &str =
    "return [...document.querySelector('.journey .track').children].map((it) => it.className).join('|')";

#[test]
fn the_page_draws_the_stages_of_each_request_as_it_arrives() {
    let demo = Demo::start();
    let output = demo.path("proxy-output");
    let _proxy = demo.kubectl("admin").spawn(&["proxy", "--port=8081"], &output);
    eventually("the proxy listens", || {
        std::fs::read_to_string(&output).is_ok_and(|text| text.contains("Starting to serve"))
    });
    let browser = Browser::start(&demo);
    browser.open("http://127.0.0.1:8081/debug/journeys");
    eventually("the page is live, and has the demo's tour", || {
        let text = browser.text();
        text.contains("live") && text.contains("create pods in payments-dev")
    });

    let alice = demo.kubectl("alice");
    alice.refused(&["get", "secrets", "-n", "payments-prod"]);
    eventually("a refusal is drawn", || browser.text().contains("list secrets in payments-prod"));
    assert_eq!(
        browser.run(NEWEST),
        "station reached Passed|station reached Refused|station|station",
        "it ends at the second stage"
    );
    alice.ok(&["run", "job", "-n", "payments-dev", "--image=nginx", "-l", "app=job"]);
    eventually("a creation is drawn", || {
        browser.run(NEWEST)
            == "station reached Passed|station reached Passed|station reached Changed|station reached Passed"
    });
    // What somebody writes is text to the page, whatever it looks like.
    demo.curl(&[], "/%3Cscript%3Edocument.title='taken'%3C/script%3E");
    eventually("it is drawn as text", || {
        browser.text().contains("get /<script>document.title='taken'</script>")
    });
    assert_eq!(browser.run("return document.title"), "Journeys of requests");

    browser.run("document.querySelectorAll('.head')[1].click()");
    let text = browser.text();
    assert!(
        text.contains("Are you who you say you are?") && text.contains("the name job became pay-job"),
        "{text}"
    );
    let picture = browser.picture();
    assert!(picture.len() > 20_000, "a picture of {} bytes shows nothing", picture.len());
    if let Some(keep) = std::env::var_os("BAILIWICK_SCREENSHOT") {
        std::fs::write(keep, picture).unwrap();
    }

    browser.run("const it = document.getElementById('what'); it.value = 'refused'; it.dispatchEvent(new Event('change'))");
    let text = browser.text();
    assert!(!text.contains("create pods in payments-dev\n201") && text.contains("list secrets"), "{text}");
}
