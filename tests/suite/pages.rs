//! The pages of runs and reports: read by a parser that knows nothing of the writer, and compared with the records.

use chainrule::{
    BatchShape, Error, GradientMonitor, Layer, Mode,
    activation::Sigmoid,
    dataset::Dataset,
    diagnosis::{Diagnosis, Report},
    layer::{Sequential, initialize},
    loss::{MeanSquaredError, Target},
    monitor::{Event, GradientBudget, Link, Recorder, RunRecord, Statistics},
    recurrent::Elman,
    theory::InputStatistics,
    trainer::{FitOptions, Step, TrainConfig, Trainer},
    transform::{Adam, ClipNorm, Schedule},
    workspace::Workspace,
};
use std::{collections::BTreeMap, fmt::Write, ops::ControlFlow};

/// An element of a page.
#[derive(Debug, Default)]
struct Node {
    tag: String,
    attributes: BTreeMap<String, String>,
    /// The text between its tags, without that of its children.
    text: String,
    children: Vec<Node>,
}

impl Node {
    /// Reads a page. Panics where it is not well-formed: each tag closed, attributes in quotes, no other `<` or `&`.
    fn page(text: &str) -> Node {
        let mut rest = text.strip_prefix("<!doctype html>\n").expect("a doctype");
        let mut open = vec![Node::default()];
        while let Some((before, after)) = rest.split_once('<') {
            open.last_mut().unwrap().text += &unescaped(before);
            let (tag, after) = after.split_once('>').expect("an end of the tag");
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                let node = open.pop().unwrap();
                assert_eq!(node.tag, name, "closed by another tag");
                open.last_mut().expect("an open tag").children.push(node);
                continue;
            }
            let (tag, alone) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
            assert!(name.chars().all(char::is_alphanumeric), "tag {tag}");
            let mut node = Node { tag: name.into(), ..Node::default() };
            while !attributes.trim().is_empty() {
                let (key, value) = attributes.trim_start().split_once("=\"").expect("an attribute in quotes");
                let (value, after) = value.split_once('"').expect("the end of the attribute");
                assert!(node.attributes.insert(key.into(), unescaped(value)).is_none(), "{key} twice");
                attributes = after;
            }
            if alone { open.last_mut().unwrap().children.push(node) } else { open.push(node) }
        }
        assert!(open.len() == 1 && rest.trim().is_empty(), "{} tags are open, rest {rest:?}", open.len() - 1);
        let mut all = open.pop().unwrap();
        assert_eq!(all.children.len(), 1);
        all.children.pop().unwrap()
    }

    fn all<'a>(&'a self, tag: &str, found: &mut Vec<&'a Node>) {
        found.extend((self.tag == tag).then_some(self));
        self.children.iter().for_each(|child| child.all(tag, found));
    }

    fn find(&self, tag: &str) -> Vec<&Node> {
        let mut found = Vec::new();
        self.all(tag, &mut found);
        found
    }

    fn is(&self, class: &str) -> bool {
        self.attributes.get("class").is_some_and(|classes| classes == class)
    }

    fn number(&self, key: &str) -> f64 {
        self.attributes[key].parse().unwrap()
    }

    /// The pictures with this title.
    fn pictures(&self, title: &str) -> Vec<&Node> {
        let titled = |svg: &&Node| svg.find("text").iter().any(|text| text.is("name") && text.text == title);
        self.find("svg").into_iter().filter(titled).collect()
    }
}

fn unescaped(text: &str) -> String {
    let mut parts = text.split('&');
    let mut plain = String::from(parts.next().unwrap());
    for part in parts {
        let (entity, rest) = part.split_once(';').expect("an entity");
        plain.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            other => panic!("entity {other}"),
        });
        plain += rest;
    }
    plain
}

/// A number as a page writes it.
fn read(text: &str) -> f64 {
    text.replace('−', "-").replace('∞', "inf").parse().unwrap_or_else(|_| panic!("no number: {text}"))
}

/// The values of the first line of a chart, by its own axes.
fn values(chart: &Node, log: bool) -> Vec<[f64; 2]> {
    let axis = |class: &str, key: &str, shift: f64| -> [(f64, f64); 2] {
        let ticks: Vec<(f64, f64)> = chart
            .find("text")
            .iter()
            .filter(|text| text.is(class))
            .map(|text| (read(&text.text), text.number(key) + shift))
            .collect();
        [ticks[0], ticks[ticks.len() - 1]]
    };
    let place = |value: f64| if log { value.log10() } else { value };
    let ([(left, at_left), (right, at_right)], [(low, at_low), (high, at_high)]) =
        (axis("x tick", "x", 0.0), axis("y tick", "y", -4.0));
    let line = chart.find("path").into_iter().find(|path| path.is("line")).expect("a line");
    line.attributes["d"]
        .split(['M', 'L'])
        .skip(1)
        .map(|point| {
            let (x, y) = point.split_once(' ').unwrap();
            let part = |at: f64, [from, to]: [f64; 2]| (at - from) / (to - from);
            let across = part(x.parse().unwrap(), [at_left, at_right]);
            let up = part(y.parse().unwrap(), [at_low, at_high]);
            let value = place(low) + up * (place(high) - place(low));
            [left + across * (right - left), if log { 10_f64.powf(value) } else { value }]
        })
        .collect()
}

/// The decades of the main path in each update, as a budget of each pass tells them.
#[derive(Default)]
struct Budgets {
    budget: GradientBudget,
    passes: Vec<Vec<(String, f64)>>,
}

impl GradientMonitor<f64> for Budgets {
    fn begin_pass(&mut self) {
        GradientMonitor::<f64>::begin_pass(&mut self.budget);
    }
    fn backward(&mut self, at: &Link<'_>, dy: &[f64], dx: &[f64]) {
        self.budget.backward(at, dy, dx);
    }
    fn event(&mut self, event: &Event<'_, f64>) {
        if matches!(event, Event::Step(_)) {
            let path = self.budget.links().iter().filter(|link| link.on_main_path);
            self.passes.push(path.map(|link| (link.name.clone(), link.decades())).collect());
        }
    }
}

fn network() -> Sequential<f64> {
    let network = Sequential::<f64>::input(2).recurrent(5, Elman::new(Sigmoid)).linear(4).activation(Sigmoid);
    network.residual(|branch| branch.linear(4)).linear(1).build().unwrap()
}

/// A recorded run, its report, and what other observers saw of it.
fn run(accumulation_steps: usize) -> (String, Report, Vec<Step>, Vec<chainrule::trainer::Epoch>, Budgets) {
    let x: Vec<f64> = (0..24 * 6 * 2).map(|i| (0.7 * i as f64).sin()).collect();
    let y: Vec<f64> = x.chunks(2).map(|row| 20.0 + row[0]).collect();
    let data = Dataset::sequences(2, 6, &x, Target::Values(&y)).unwrap();
    let settings = TrainConfig { batch_size: 4, epochs: 5, accumulation_steps, ..TrainConfig::default() };
    let chain = (ClipNorm::new(0.5), Adam::new(0.3), Schedule::cosine(60, 0.1));
    let mut trainer = Trainer::new(network(), MeanSquaredError::new(), chain, settings).unwrap();
    let (mut steps, mut monitors) = (Vec::new(), (Recorder::new(Vec::new()), Statistics::new(), Budgets::default()));
    let mut on_step = |step: &Step| {
        steps.push(*step);
        ControlFlow::Continue(())
    };
    let options = FitOptions::new().validation(&data).monitor(&mut monitors).on_step(&mut on_step);
    let epochs = trainer.fit_with(&data, options).unwrap();
    let (lines, statistics, budgets) = monitors;
    let inputs = InputStatistics::of_rows(&x).unwrap().steps(6).unwrap();
    let report = Diagnosis::new(trainer.network(), inputs).unwrap().statistics(&statistics).report();
    (String::from_utf8(lines.finish().unwrap()).unwrap(), report, steps, epochs, budgets)
}

#[test]
fn page_of_a_run_shows_the_values_of_its_records() -> Result<(), Error> {
    let (lines, report, steps, epochs, budgets) = run(1);
    let record = RunRecord::read(lines.as_bytes())?;
    assert_eq!((record.steps(), record.epochs()), (&steps[..], &epochs[..]));
    assert!(epochs.iter().all(|epoch| epoch.gradient_norm > epoch.clipped_norm && epoch.clipped_norm > Some(0.0)));
    let mean = steps[..6].iter().map(|step| step.gradient_norm).sum::<f64>() / 6.0;
    assert!((epochs[0].gradient_norm.unwrap() - mean).abs() < 1e-12 * mean);
    let history = record.budget();
    assert_eq!(history.numbers, (1..=30).collect::<Vec<u64>>());
    for (pass, links) in budgets.passes.iter().enumerate() {
        let own: Vec<(String, f64)> =
            history.links.iter().map(|link| (link.name.clone(), link.decades[pass].unwrap())).collect();
        assert_eq!(&own, links, "pass {pass}");
        let total: f64 = links.iter().map(|(_, decades)| decades).sum();
        assert!((history.totals()[pass].unwrap() - total).abs() < 1e-12);
    }
    // What `Statistics` keeps of the same run, and thus the report, is the same.
    assert_eq!((&report.history.numbers, &report.history.links), (&history.numbers, &history.links));

    let page = Node::page(&record.to_html(Some(&report)));
    let [loss] = page.pictures("Loss")[..] else { panic!("one chart of the loss") };
    assert!(steps[0].loss / steps[29].loss > 10.0, "the axis is logarithmic");
    let drawn = values(loss, true);
    assert_eq!(drawn.len(), steps.len());
    for ([x, y], step) in drawn.iter().zip(&steps) {
        // A tenth of a pixel.
        assert!((x - step.step as f64).abs() < 0.02 && (y / step.loss - 1.0).abs() < 0.02, "{x} {y} {step:?}");
    }
    let circles = loss.find("circle");
    assert_eq!(circles.len(), 2 * epochs.len(), "training and validation of each epoch");
    let [norms] = page.pictures("Gradient norm")[..] else { panic!("one chart of the norms") };
    assert_eq!(norms.find("path").iter().filter(|path| path.is("line")).count(), 2);
    let [map] = page.pictures("Budget by link")[..] else { panic!("one heat map") };
    let rows: Vec<&Node> = map.find("g");
    assert_eq!(rows.len(), history.links.len());
    for (row, link) in rows.iter().zip(&history.links) {
        assert_eq!(row.children.len(), 30);
        for ((cell, decades), number) in row.children.iter().zip(&link.decades).zip(&history.numbers) {
            let (at, value) = cell.children[0].text.split_once(": ").unwrap();
            assert!(at == number.to_string() && (read(value) - decades.unwrap()).abs() <= 0.005, "{at} {value}");
        }
    }
    assert_eq!(page.find("section").len(), report.findings.len() + usize::from(report.is_healthy()));
    assert_eq!(page.pictures("Gradient of the state").len(), 1);
    Ok(())
}

/// Each update has links of its own, in an order of its own. The norms of a link in an update add up by their
/// squares.
#[test]
fn record_of_links_in_any_order_has_each_by_its_name() -> Result<(), Error> {
    const LINKS: usize = 2000;
    let first = |number: usize| number * LINKS / 2;
    let mut lines = String::new();
    for number in 1..=3 {
        for part in [3.0, 4.0] {
            let after = part * 10f64.powi(number as i32);
            for i in 0..LINKS {
                // 7 has no factor in common with the number of links.
                let link = (i * 7 + number) % LINKS + first(number);
                writeln!(lines, r#"{{"pass":{number},"same_update":true,"event":"backward","name":"{link}","on_main_path":true,"factor":"Weights","before":{{"norm":{part}}},"after":{{"norm":{after}}}}}"#).unwrap();
            }
        }
        update(&mut lines, number as u64, 0, ["1"; 2], "1");
    }
    let record = RunRecord::read(lines.as_bytes())?;
    let history = record.budget();
    assert_eq!((&history.numbers[..], history.links.len()), (&[1, 2, 3][..], 2 * LINKS));
    for link in &history.links {
        let name: usize = link.name.parse().unwrap();
        for (number, decades) in (1..).zip(&link.decades) {
            let expected = (first(number)..first(number) + LINKS).contains(&name).then_some(number as f64);
            let agrees = decades.zip(expected).map(|(found, expected)| (found - expected).abs() < 1e-12);
            assert!(agrees.unwrap_or(*decades == expected), "{link:?}");
        }
    }
    Ok(())
}

#[test]
fn record_of_an_accumulated_run_has_a_column_an_update() -> Result<(), Error> {
    let (lines, _, steps, ..) = run(3);
    let record = RunRecord::read(lines.as_bytes())?;
    assert_eq!((record.budget().numbers.len(), steps.len()), (10, 10));
    // The norm over the rows of all parts.
    let parts: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = &record.budget().links[0];
    let of_link = |end: &str| {
        let own = parts.iter().filter(|line| line["event"] == "backward" && line["name"] == *last.name);
        let own = own.filter(|line| line["pass"].as_u64() < Some(4) && line["step"].is_null());
        let squares: Vec<f64> = own.map(|line| line[end]["norm"].as_f64().unwrap().powi(2)).collect();
        assert_eq!(squares.len(), 3, "{end}");
        squares.iter().sum::<f64>().sqrt()
    };
    let decades = (of_link("after") / of_link("before")).log10();
    assert!((last.decades[0].unwrap() - decades).abs() < 1e-12);
    Ok(())
}

#[test]
fn page_of_a_report_shows_layers_passes_and_steps() {
    let (_, report, ..) = run(1);
    let page = Node::page(&report.to_html());
    assert_eq!(page.pictures("Budget by link").len(), 1);
    let [time] = page.pictures("Gradient of the state")[..] else { panic!("a chart over time") };
    let state = &report.states[0];
    assert_eq!(state.gradient.iter().map(|&[step, _]| step as usize).collect::<Vec<_>>(), [5, 4, 3, 2, 1, 0]);
    let [newest, .., oldest] = state.gradient[..] else { panic!("{state}") };
    let log = newest[1] / oldest[1] > 10.0;
    for (drawn, expected) in values(time, log).iter().zip(state.gradient.iter().rev()) {
        assert!((drawn[0] - expected[0]).abs() < 0.02 && (drawn[1] / expected[1] - 1.0).abs() < 0.03, "{drawn:?}");
    }
    // Before the training there is no run and no time.
    let network = network();
    let forecast = Diagnosis::new(&network, InputStatistics::new(1.0).unwrap()).unwrap().report();
    let page = Node::page(&forecast.to_html());
    assert_eq!((page.find("svg").len(), page.pictures("Budget by link").len()), (1, 0));
}

/// The lines of one update with these norms.
fn update(lines: &mut String, number: u64, links: usize, norms: [&str; 2], loss: &str) {
    let norm = |norm: &str| format!(r#"{{"norm":{norm},"zeros":0,"non_finite":0,"values":4}}"#);
    let (before, after) = (norm(norms[0]), norm(norms[1]));
    for link in (0..links).rev() {
        let name = format!(r#"{link}.<b>&\"{}"#, "x".repeat(link % 60));
        let factor = if link % 2 == 0 { "Weights" } else { "Activation" };
        writeln!(lines, r#"{{"pass":{number},"event":"backward","name":"{name}","on_main_path":true,"factor":"{factor}","before":{before},"after":{after}}}"#).unwrap();
    }
    writeln!(lines, r#"{{"pass":{number},"event":"step","step":{number},"epoch":1,"loss":{loss},"applied":true,"learning_rate":0.1,"gradient_norm":{loss},"clipped_norm":null,"samples":4,"seconds":0.5}}"#).unwrap();
}

#[test]
fn page_of_any_run_is_well_formed() -> Result<(), Error> {
    let text_of = |steps: u64, links: usize, norms: fn(u64) -> [&'static str; 2], loss: fn(u64) -> String| {
        let mut lines = String::new();
        (1..=steps).for_each(|step| update(&mut lines, step, links, norms(step), &loss(step)));
        lines
    };
    let usual: fn(u64) -> String = |step| format!("{}", 1.0 / step as f64);
    let strange: fn(u64) -> String =
        |step| [r#""NaN""#, r#""inf""#, r#""-inf""#, "0", "1.7e308", "-1.7e308", "5e-324"][step as usize % 7].into();
    let ends: fn(u64) -> [&'static str; 2] = |step| {
        [["1", "0"], ["0", "0"], ["0", "1"], [r#""NaN""#, "1"], ["1", r#""inf""#], ["1", "0.5"]][step as usize % 6]
    };
    for (steps, links, norms, loss, size) in [
        (0, 0, ends, usual, 4_000),
        (1, 1, ends, usual, 12_000),
        (1, 3, ends, strange, 12_000),
        (40, 100, ends, strange, 800_000),
        (200, 100, ends, usual, 1_600_000),
        (10_000, 1, ends, usual, 80_000),
        (10_000, 0, ends, strange, 80_000),
    ] {
        let lines = text_of(steps, links, norms, loss);
        let record = RunRecord::read(lines.as_bytes())?;
        assert_eq!(record.steps().len() as u64, steps);
        let page = record.to_html(None);
        assert!(page.len() < size, "{} bytes for {steps} steps of {links} links", page.len());
        let page = Node::page(&page);
        assert!(page.find("b").is_empty() && page.find("script").is_empty());
        let rows: usize = page.pictures("Budget by link").iter().map(|map| map.find("g").len()).sum();
        assert_eq!(rows, if steps > 0 { links } else { 0 });
        for number in page.find("svg").iter().flat_map(|svg| svg.find("rect")) {
            assert!(number.number("x") >= 0.0 && number.number("width") >= 0.0);
        }
    }
    // Numbers that end at the largest, and begin again.
    let mut odd = String::new();
    for number in [u64::MAX - 1, u64::MAX, u64::MAX, 1, 2] {
        update(&mut odd, number, 2, ["1", "0.5"], "3");
    }
    for text in [odd.lines().take(9).collect::<Vec<_>>().join("\n"), odd] {
        let page = RunRecord::read(text.as_bytes())?.to_html(None);
        assert!(!page.contains("NaN") && !page.contains("=\"-"), "{page}");
        Node::page(&page);
    }
    // Every second update from 128 on, every fourth from 256 on.
    let record = RunRecord::read(text_of(600, 1, ends, usual).as_bytes())?;
    assert_eq!(record.budget().numbers, (0..75).map(|i| 1 + 8 * i).collect::<Vec<u64>>());
    let [first, ninth, last, ..] = record.budget().links[0].decades[..] else { panic!("75 columns") };
    assert!(first.is_none() && ninth.is_some_and(f64::is_nan) && last == Some(0.5_f64.log10()), "updates 1, 9 and 17");

    // The lowest and the highest of a group are drawn.
    let spike: fn(u64) -> String =
        |step| if step == 4321 { "50".into() } else { format!("{}", 2.0 + (step % 7) as f64) };
    let page = RunRecord::read(text_of(10_000, 0, ends, spike).as_bytes())?.to_html(None);
    let page = Node::page(&page);
    let drawn = values(page.pictures("Loss")[0], true);
    let highest = drawn.iter().max_by(|a, b| a[1].total_cmp(&b[1])).unwrap();
    assert!((highest[0] - 4321.0).abs() < 20.0 && (highest[1] / 50.0 - 1.0).abs() < 0.03, "{highest:?}");
    Ok(())
}

#[test]
fn record_that_is_cut_or_damaged_is_read_or_refused() {
    let mut lines = String::new();
    update(&mut lines, 1, 2, ["1", "0.5"], "3");
    update(&mut lines, 2, 2, ["1", "0.5"], "2");
    let whole = RunRecord::read(lines.as_bytes()).unwrap();
    let cut = RunRecord::read(&lines.as_bytes()[..lines.len() - 20]).unwrap();
    assert_eq!((whole.steps().len(), cut.steps().len(), cut.budget().numbers.len()), (2, 1, 2));
    for (damaged, line) in [(lines.replacen("\"pass\":2", "\"pass\":two", 1), 4), ("{}\n".into(), 1), ("\n".into(), 1)]
    {
        let error = RunRecord::read(damaged.as_bytes()).unwrap_err();
        assert!(format!("{error}").starts_with(&format!("the records, line {line}: ")), "{error}");
    }
}

/// A loop by hand has no records of updates, and a watched pass each step.
#[test]
fn record_of_a_loop_by_hand_has_a_column_a_pass() -> Result<(), Error> {
    let network = network();
    let w = initialize(&network, 1)?;
    let shape = BatchShape::sequences(2, 3);
    let mut workspace = Workspace::new(&network, shape)?;
    let mut lines = Recorder::new(Vec::new());
    let x = vec![0.5; shape.rows() * Layer::<f64>::dims(&network).input];
    for _ in 0..3 {
        workspace.forward_with(&w, &x, shape, Mode::Train, &mut lines)?.dy.fill(1.0);
        workspace.backward_with(&w, &mut lines)?;
    }
    let record = RunRecord::read(&lines.finish().unwrap()[..])?;
    assert_eq!((&record.budget().numbers[..], record.steps().len()), (&[1, 2, 3][..], 0));
    let page = Node::page(&record.to_html(None));
    assert!(page.find("h1")[0].text.contains("3 updates") && page.pictures("Budget").len() == 1);
    Ok(())
}
