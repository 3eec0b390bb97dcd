//! Runs mutants with the tests that reach them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// Tests of a batch run at most so long, if they are right.
const BATCHES: [f64; 3] = [0.1, 1.0, 5.0];
/// A batch that takes so many times as long on the processor, and some seconds, does not end.
const PATIENCE: f64 = 10.0;
/// A batch that waits so many times as long as it may compute does not end either; other programs may take the
/// processor.
const WAIT: u32 = 20;
/// Seconds of the processor for a test without a mutant.
const PLAIN: u64 = 600;
/// Memory of a test program, in KiB.
const MEMORY: &str = "6000000";

struct Test {
    program: usize,
    name: String,
    seconds: f64,
    reached: BTreeSet<u32>,
}

fn number(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A test program with some of its tests, which may take so many seconds of the processor.
fn command(program: &str, tests: &[&str], seconds: u64) -> Command {
    let mut command = Command::new("sh");
    let limits = format!("ulimit -v {MEMORY}; ulimit -t {seconds}; exec \"$@\"");
    command.args(["-c", &limits, "sh", program, "--exact", "--test-threads=1"]);
    command.args(tests).env("CHAINRULE_THREADS", "1").stdin(Stdio::null()).stderr(Stdio::null());
    // A seed that fails under a mutant is no failure of the project.
    command.env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true");
    command
}

/// Which mutants each test reaches, and how long it takes; kept in a file.
fn coverage(copy: &Path, programs: &[&str]) -> Vec<Test> {
    let path = copy.join("coverage.tsv");
    let known = fs::read_to_string(&path).unwrap_or_default();
    let mut known: BTreeMap<&str, (f64, BTreeSet<u32>)> = known
        .lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            let (name, seconds, ids) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?);
            Some((name, (seconds, ids.split(' ').filter_map(|id| id.parse().ok()).collect())))
        })
        .collect();
    let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("coverage.tsv");
    let record = copy.join("record.txt");
    let mut tests = Vec::new();
    for (program, path) in programs.iter().enumerate() {
        let listed = Command::new(path).args(["--list", "--format", "terse"]).output().expect("a test program");
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            let Some(name) = line.strip_suffix(": test") else { continue };
            let key = format!("{program} {name}");
            let (seconds, reached) = known.remove(key.as_str()).unwrap_or_else(|| {
                let _ = fs::remove_file(&record);
                let start = Instant::now();
                let plain = command(path, &[name], PLAIN).stdout(Stdio::null()).status().expect("a test program");
                let seconds = start.elapsed().as_secs_f64();
                let mut recorded = command(path, &[name], PLAIN);
                recorded.env("MUTATION_RECORD", &record).stdout(Stdio::null());
                recorded.status().expect("a test program");
                // A test that fails without a mutant judges none.
                let ids = fs::read_to_string(&record).ok().filter(|_| plain.success()).unwrap_or_default();
                let ids: Vec<&str> = ids.lines().collect();
                writeln!(file, "{key}\t{seconds}\t{}", ids.join(" ")).expect("coverage.tsv");
                (seconds, ids.iter().filter_map(|id| id.parse().ok()).collect())
            });
            tests.push(Test { program, name: name.to_owned(), seconds, reached });
        }
    }
    tests
}

/// The first test that fails, or why the program did not end well.
fn fails(program: &str, tests: &[&str], id: u32, limit: Duration) -> Option<String> {
    let mut command = command(program, tests, limit.as_secs() + 1);
    let mut child: Child = command.env("MUTATION", id.to_string()).stdout(Stdio::piped()).spawn().expect("a program");
    let (send, receive) = mpsc::channel();
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let reader = thread::spawn(move || {
        output.lines().map_while(Result::ok).for_each(|line| _ = send.send(line));
    });
    let start = Instant::now();
    let mut found = None;
    let ended = loop {
        let left = (limit * WAIT).saturating_sub(start.elapsed());
        match receive.recv_timeout(left) {
            Ok(line) if line.ends_with("FAILED") && line.starts_with("test ") => {
                found = line.split(' ').nth(1).map(str::to_owned);
                break false;
            }
            Ok(_) => {}
            Err(mpsc::RecvTimeoutError::Timeout) => {
                found = Some("no end".into());
                break false;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break true,
        }
    };
    if !ended {
        let _ = child.kill();
    }
    let status = child.wait().expect("a status");
    let _ = reader.join();
    found.or_else(|| (!status.success()).then(|| "aborted".into()))
}

/// Runs the mutants that have no outcome yet.
pub fn run(copy: &Path, programs: &[&str]) {
    let list = fs::read_to_string(copy.join("mutants.tsv")).expect("mutants.tsv");
    let mutants: Vec<(u32, &str)> = list
        .lines()
        .filter_map(|line| line.split_once('\t').and_then(|(id, rest)| Some((id.parse().ok()?, rest))))
        .collect();
    let tests = coverage(copy, programs);
    println!("{} mutants, {} tests", mutants.len(), tests.len());
    let path = copy.join("outcomes.tsv");
    let done = fs::read_to_string(&path).unwrap_or_default();
    let done: BTreeSet<u32> = done.lines().filter_map(|line| line.split('\t').next()?.parse().ok()).collect();
    let file = Mutex::new(OpenOptions::new().create(true).append(true).open(&path).expect("outcomes.tsv"));
    let only = std::env::var("MUTATION_ONLY").unwrap_or_default();
    let (threads, most) = (number("MUTATION_THREADS", 1.0) as usize, number("MUTATION_SECONDS", f64::INFINITY));
    let open: Vec<&(u32, &str)> =
        mutants.iter().filter(|(id, text)| !done.contains(id) && text.starts_with(&only)).collect();
    let (next, caught) = (AtomicUsize::new(0), Mutex::new(BTreeMap::<(String, usize), u32>::new()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((id, text)) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    let source = text.split(':').next().unwrap_or_default();
                    let outcome = judge(*id, source, &tests, programs, most, &caught);
                    let (outcome, seconds) = (outcome, start.elapsed().as_secs_f64());
                    let line = format!("{id}\t{outcome}\t{seconds:.2}\t{text}\n");
                    file.lock().unwrap().write_all(line.as_bytes()).expect("outcomes.tsv");
                }
            });
        }
    });
    report(&path);
}

/// The outcome of a mutant: the test that catches it, or none.
fn judge(
    id: u32,
    source: &str,
    tests: &[Test],
    programs: &[&str],
    most: f64,
    caught: &Mutex<BTreeMap<(String, usize), u32>>,
) -> String {
    let mut reached: Vec<usize> = (0..tests.len()).filter(|&i| tests[i].reached.contains(&id)).collect();
    if reached.is_empty() {
        return "unreached\t".into();
    }
    {
        // Tests that caught others of the file come first, then the quick ones.
        let caught = caught.lock().unwrap();
        let worth = |i: usize| {
            let caught = f64::from(caught.get(&(source.to_owned(), i)).copied().unwrap_or(0));
            (caught + 0.02) / (tests[i].seconds + 0.005)
        };
        reached.sort_by(|&a, &b| worth(b).total_cmp(&worth(a)));
    }
    let (mut rest, mut spent, mut round) = (&reached[..], 0.0, 0);
    while !rest.is_empty() && spent < most {
        let limit = BATCHES[round.min(BATCHES.len() - 1)];
        let (mut count, mut seconds) = (0, 0.0);
        while count < rest.len()
            && (count == 0
                || (seconds + tests[rest[count]].seconds <= limit
                    && tests[rest[count]].program == tests[rest[0]].program))
        {
            seconds += tests[rest[count]].seconds;
            count += 1;
        }
        let batch: Vec<&str> = rest[..count].iter().map(|&i| tests[i].name.as_str()).collect();
        let program = programs[tests[rest[0]].program];
        if let Some(by) = fails(program, &batch, id, Duration::from_secs_f64(PATIENCE * seconds + 10.0)) {
            let found = rest.iter().find(|&&i| tests[i].name == by).copied().unwrap_or(rest[0]);
            *caught.lock().unwrap().entry((source.to_owned(), found)).or_default() += 1;
            return format!("caught\t{by}");
        }
        (rest, spent, round) = (&rest[count..], spent + seconds, round + 1);
    }
    if rest.is_empty() { "survived\t".into() } else { format!("survived {spent:.0} s\t") }
}

/// Prints the survivors, and the sums by folder.
fn report(path: &Path) {
    let outcomes = fs::read_to_string(path).expect("outcomes.tsv");
    let mut sums: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for line in outcomes.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [_, outcome, _, _, place, function, change] = fields[..] else { continue };
        let folder = place.split('/').nth(1).unwrap_or_default();
        let caught = outcome == "caught";
        for name in [folder, "all"] {
            let sum = sums.entry(name.to_owned()).or_default();
            sum[0] += usize::from(caught);
            sum[1] += 1;
        }
        if !caught {
            println!("{outcome}: {place} {function}: {change}");
        }
    }
    for (folder, [caught, all]) in sums {
        println!("{folder}: {caught} of {all} caught, {:.1} %", 100.0 * caught as f64 / all as f64);
    }
}
