//! The download against a stub of the hub on this machine.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

use super::*;

/// How the stub behaves.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// As the hub does.
    Proper,
    /// Wants "Bearer secret".
    Gated,
    /// Cuts the first download of each file off in the middle.
    Flaky,
    /// Has the weights in two files and an index.
    Sharded,
    /// Has the weights in some other format.
    Other,
    /// Answers nothing.
    Silent,
}

struct Stub {
    endpoint: String,
    /// "GET /path" of every request.
    requests: Arc<Mutex<Vec<String>>>,
}

const REPO: &str = "someone/tiny";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

const SHARDS: [&str; 2] = ["m-1-of-2.safetensors", "m-2-of-2.safetensors"];

fn content(name: &str) -> Option<Vec<u8>> {
    if name == WEIGHTS_INDEX {
        let map = SHARDS.map(|shard| (format!("a tensor of {shard}"), shard));
        let map = std::collections::BTreeMap::from(map);
        return Some(
            serde_json::json!({ "weight_map": map })
                .to_string()
                .into_bytes(),
        );
    }
    let known = FILES.contains(&name) || SHARDS.contains(&name);
    known.then(|| format!("the bytes of {name}, at some length").into_bytes())
}

fn stub(manner: Manner) -> Stub {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let requests = Arc::new(Mutex::new(vec![]));
    let seen = requests.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = seen.clone();
            std::thread::spawn(move || answer(stream, manner, &seen));
        }
    });
    Stub {
        endpoint: format!("http://{address}"),
        requests,
    }
}

/// Answers one request and closes.
fn answer(mut stream: TcpStream, manner: Manner, seen: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().expect("cloned")).lines();
    let head: Vec<String> = lines
        .by_ref()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let Some(first) = head.first() else { return };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let whole = |line: &String| line.to_ascii_lowercase().starts_with("range: bytes=0-0");
    let is_probe = head.iter().any(whole);
    let first_time = {
        let mut seen = seen.lock().expect("free");
        let key = format!("{path}{}", if is_probe { " probe" } else { "" });
        let first_time = !seen.contains(&key);
        seen.push(key);
        first_time
    };
    if manner == Manner::Silent {
        std::thread::sleep(Duration::from_secs(5));
        return;
    }
    let allowed = head
        .iter()
        .any(|line| line.eq_ignore_ascii_case("authorization: bearer secret"));
    let name = path.strip_prefix(&format!("/{REPO}/resolve/main/"));
    let reply = match name.and_then(content) {
        _ if manner == Manner::Gated && !allowed => error("401 Unauthorized"),
        None => error("404 Not Found"),
        _ if manner == Manner::Sharded && path.ends_with("/model.safetensors") => {
            error("404 Not Found")
        }
        _ if manner == Manner::Other && path.contains(".safetensors") => error("404 Not Found"),
        Some(bytes) => {
            let from = head.iter().find_map(|line| {
                let line = line.to_ascii_lowercase();
                let (start, _) = line.strip_prefix("range: bytes=")?.split_once('-')?;
                start.parse::<usize>().ok()
            });
            let from = from.unwrap_or(0).min(bytes.len());
            let to = if is_probe { 1 } else { bytes.len() };
            let body = &bytes[from..to.max(from)];
            let mut reply = format!(
                "HTTP/1.1 206 Partial Content\r\nETag: \"{:x}\"\r\nx-repo-commit: {COMMIT}\r\n\
                 Content-Range: bytes {from}-{}/{}\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                blake_tag(path.as_bytes()),
                to.saturating_sub(1),
                bytes.len(),
                body.len(),
            )
            .into_bytes();
            let cut = manner == Manner::Flaky && !is_probe && first_time;
            reply.extend_from_slice(if cut { &body[..body.len() / 2] } else { body });
            reply
        }
    };
    let _ = stream.write_all(&reply);
}

fn error(status: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

fn blake_tag(bytes: &[u8]) -> u64 {
    let hash = blake3::hash(bytes);
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight bytes"))
}

struct Fixture {
    dir: tempfile::TempDir,
    settings: Settings,
}

fn fixture(endpoint: &str) -> Fixture {
    let dir = tempfile::tempdir().expect("a directory");
    let home = dir.path().join("home").display().to_string();
    let settings = Settings::from(|name| match name {
        "HF_HOME" => Some(home.clone()),
        "HF_ENDPOINT" => Some(endpoint.to_owned()),
        _ => None,
    });
    Fixture { dir, settings }
}

impl Fixture {
    fn fetch(&self, repo: &str) -> Result<(), JobError> {
        let model = HubModel {
            repo: repo.into(),
            revision: "main".into(),
        };
        let out = tempfile::tempdir_in(self.dir.path()).expect("a directory");
        let files = fetch(&model, out.path(), &self.settings)?;
        for (name, file) in FILES.iter().zip(files) {
            assert_eq!(file, out.path().join(name));
            assert_eq!(Some(fs::read(file).expect("there")), content(name));
        }
        Ok(())
    }

    fn fails(&self, repo: &str, reason: FailureReason, parts: &[&str]) {
        let error = self.fetch(repo).expect_err("must fail");
        assert_eq!(error.reason, reason, "{error}");
        for part in parts.iter().chain(&["HF_ENDPOINT", "model: {path: DIR}"]) {
            assert!(error.message.contains(part), "{part:?} in: {error}");
        }
    }
}

#[test]
fn a_model_comes_once_and_then_from_the_cache_offline_too() {
    let stub = stub(Manner::Proper);
    let mut f = fixture(&stub.endpoint);
    f.fetch(REPO).expect("downloaded");
    let asked = stub.requests.lock().expect("free").len();
    assert!(asked >= FILES.len());
    f.fetch(REPO).expect("from the cache");
    f.settings.offline = true;
    f.settings.endpoint = "http://127.0.0.1:1".into();
    f.fetch(REPO).expect("offline");
    assert_eq!(
        stub.requests.lock().expect("free").len(),
        asked,
        "nothing more was asked"
    );
}

#[test]
fn offline_without_a_cache_says_how_to_go_on() {
    let mut f = fixture("http://127.0.0.1:1");
    f.settings.offline = true;
    f.fails(
        REPO,
        FailureReason::Environment,
        &["offline", "config.json of someone/tiny"],
    );
}

#[test]
fn a_hub_that_is_not_there_is_named() {
    let f = fixture("http://127.0.0.1:1");
    f.fails(
        REPO,
        FailureReason::Environment,
        &["http://127.0.0.1:1", "config.json"],
    );
}

#[test]
fn a_model_that_does_not_exist_is_named() {
    let stub = stub(Manner::Proper);
    let f = fixture(&stub.endpoint);
    f.fails(
        "no/such",
        FailureReason::Invalid,
        &["no file config.json of no/such"],
    );
}

#[test]
fn weights_of_another_format_are_refused() {
    let stub = stub(Manner::Other);
    let f = fixture(&stub.endpoint);
    f.fails(
        REPO,
        FailureReason::Invalid,
        &[
            "no file model.safetensors of someone/tiny",
            "another format",
        ],
    );
}

#[test]
fn weights_in_shards_come_with_their_index() {
    let stub = stub(Manner::Sharded);
    let mut f = fixture(&stub.endpoint);
    let model = HubModel {
        repo: REPO.into(),
        revision: "main".into(),
    };
    for offline in [false, true] {
        f.settings.offline = offline;
        let out = tempfile::tempdir_in(f.dir.path()).expect("a directory");
        let [_, weights, _] = fetch(&model, out.path(), &f.settings).expect("all files");
        assert_eq!(weights, out.path().join(WEIGHTS_INDEX));
        for shard in SHARDS {
            let bytes = fs::read(out.path().join(shard)).expect("beside the index");
            assert_eq!(Some(bytes), content(shard));
        }
    }
}

#[test]
fn a_gated_model_needs_the_token() {
    let stub = stub(Manner::Gated);
    let mut f = fixture(&stub.endpoint);
    f.fails(REPO, FailureReason::Invalid, &["401", "HF_TOKEN"]);
    f.settings.token = Some("secret".into());
    f.fetch(REPO).expect("with the token");
}

#[test]
fn a_download_that_was_cut_off_goes_on() {
    let stub = stub(Manner::Flaky);
    fixture(&stub.endpoint).fetch(REPO).expect("in the end");
}

#[test]
fn a_hub_that_says_nothing_is_given_up() {
    let stub = stub(Manner::Silent);
    let mut f = fixture(&stub.endpoint);
    f.settings.stall = Duration::from_millis(200);
    f.fails(REPO, FailureReason::Environment, &["no data for"]);
}

#[test]
fn the_environment_is_read_as_by_other_tools() {
    let read = |vars: &[(&str, &str)]| {
        let find = |name: &str| vars.iter().find(|(n, _)| *n == name);
        Settings::from(|name| find(name).map(|(_, value)| (*value).to_owned()))
    };
    let plain = read(&[("HF_ENDPOINT", ""), ("HF_HUB_OFFLINE", "0")]);
    assert_eq!(plain.endpoint, PUBLIC_HUB);
    assert!(!plain.offline);
    assert!(read(&[("HF_HUB_OFFLINE", "1")]).offline);
    assert!(read(&[("TRANSFORMERS_OFFLINE", "TRUE")]).offline);
    let moved = read(&[("HF_HOME", "h"), ("HF_TOKEN", "t")]);
    assert_eq!(moved.cache, Path::new("h/hub"));
    assert_eq!(moved.token.as_deref(), Some("t"));
    assert_eq!(
        read(&[("HF_HOME", "h"), ("HF_HUB_CACHE", "c")]).cache,
        Path::new("c")
    );
}
