//! Everything that people do with kubectl, command by command, in each version from 1.29 on; what is printed is what a
//! cluster's API server has it print.

mod deleting;
mod permissions;
mod reading;
mod running;
mod writing;

use std::sync::Mutex;

use super::demo::Demo;
use super::kubectl::{KUBECTLS, Kubectl, Ran, minor};

/// The oldest minor version whose every command is tried.
const OLDEST: u32 = 29;

/// Somebody who types: one version of kubectl, with a namespace and a node of its own.
struct Typist {
    kubectl: Kubectl,
    /// Where scripts can be put.
    folder: std::path::PathBuf,
    namespace: String,
    node: String,
    minor: u32,
    /// What went wrong so far: one command that fails does not hide what others do.
    faults: Mutex<Vec<String>>,
}

#[test]
fn whatever_people_type_does_what_it_does_with_a_cluster() {
    let demo = Demo::start();
    let programs = || KUBECTLS.iter().filter(|program| minor(program).is_none_or(|minor| minor >= OLDEST));
    assert!(programs().count() > 0, "no kubectl is new enough: {:?}", *KUBECTLS);
    std::thread::scope(|scope| {
        for (nth, program) in programs().enumerate() {
            let typist = Typist {
                kubectl: demo.kubectl("admin").by(program),
                folder: demo.path(""),
                namespace: format!("battery-{nth}"),
                node: format!("battery-node-{nth}"),
                minor: minor(program).unwrap_or(OLDEST),
                faults: Mutex::default(),
            };
            scope.spawn(move || typist.types_everything());
        }
    });
}

impl Typist {
    fn types_everything(&self) {
        let Self { namespace, node, .. } = self;
        self.says(&format!("create namespace {namespace}"), &format!("namespace/{namespace} created\n"));
        let manifest = format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {node}}}\n");
        self.fed("create -f -", &manifest, &format!("node/{node} created\n"));
        writing::all(self);
        running::all(self);
        reading::all(self);
        permissions::all(self);
        deleting::all(self);
        let faults = self.faults.lock().unwrap();
        assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    }

    /// Types these words in its namespace, with this for the input. A `^` in a word stands for a space.
    fn typed(&self, words: &str, input: &str) -> Ran {
        let words: Vec<String> = words.split_whitespace().map(|word| word.replace('^', " ")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (command, separator) = match words.iter().position(|word| *word == "--") {
            Some(at) => words.split_at(at),
            None => (&*words, &[][..]),
        };
        self.kubectl.with_input(&[command, &["-n", &self.namespace], separator].concat(), input)
    }

    fn fails(&self, words: &str, ran: &Ran, what: &str) {
        let Ran { code, out, err } = ran;
        self.fault(format!(
            "{words}\nwas to print: {what:?}\nprinted: {out:?}\ncomplained: {err:?}\ncode: {code}"
        ));
    }

    fn fault(&self, what: String) {
        self.faults.lock().unwrap().push(format!("kubectl 1.{} {what}", self.minor));
    }

    /// What is typed succeeds, and prints exactly this.
    fn says(&self, words: &str, expected: &str) {
        self.fed(words, "", expected);
    }

    /// The same, with an input.
    fn fed(&self, words: &str, input: &str, expected: &str) {
        let ran = self.typed(words, input);
        if ran.code != 0 || ran.out != expected {
            self.fails(words, &ran, expected);
        }
    }

    /// What is typed succeeds, and all of this stands in what it prints. Gives what was printed.
    fn shows(&self, words: &str, expected: &[&str]) -> String {
        let ran = self.typed(words, "");
        let missing = expected.iter().find(|text| !ran.out.contains(**text) && !ran.err.contains(**text));
        match missing {
            _ if ran.code != 0 => self.fails(words, &ran, "no error"),
            Some(missing) => self.fails(words, &ran, missing),
            None => {}
        }
        ran.out
    }

    /// What is typed fails, and complains like this.
    fn refuses(&self, words: &str, expected: &str) {
        self.refuses_input(words, "", expected);
    }

    /// The same, with an input.
    fn refuses_input(&self, words: &str, input: &str, expected: &str) {
        let ran = self.typed(words, input);
        if ran.code == 0 || !ran.err.contains(expected) {
            self.fails(words, &ran, expected);
        }
    }

    /// The rows of a table as words, its head first.
    fn rows(&self, words: &str) -> Vec<Vec<String>> {
        let table = self.shows(words, &[]);
        table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    }

    /// A table has these columns, and in the row that begins so, these first cells.
    fn tables(&self, words: &str, head: &str, row: &str) {
        let rows = self.rows(words);
        let head: Vec<&str> = head.split_whitespace().collect();
        if rows.first().is_none_or(|row| *row != head) {
            self.fault(format!("{words}: {head:?} is not the head of {rows:?}"));
        }
        let wanted: Vec<&str> = row.split_whitespace().collect();
        let is_there = rows.iter().any(|row| row.len() >= wanted.len() && row[..wanted.len()] == *wanted);
        if !is_there {
            self.fault(format!("{words}: no {row:?} in {rows:?}"));
        }
    }
}

/// A pod of the front end's own kind, as somebody writes it.
fn pod(name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\n\
         spec: {{containers: [{{name: c, image: {image}}}]}}\n"
    )
}

/// A configmap with a label to select it by.
fn map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{set: maps}}}}\ndata: {{key: {value}}}\n"
    )
}
