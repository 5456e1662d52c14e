//! `report.html`: one offline page, readable on screen and on paper.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::figure::{self, Figure, Styles};
use super::format::count;
use super::table::Table;
use super::{PROVENANCE_MARK, answer, inspections, provenance, tables};
use crate::aggregate::Analysis;
use crate::results::SweepResults;

const STYLE: &str = include_str!("report.css");

/// Metrics of the selection's split that get curves of their own.
const FURTHER_CURVES: [&str; 2] = ["accuracy", "nll"];

/// The report as a page.
pub(super) fn html(a: &Analysis, results: &SweepResults) -> String {
    let styles = Styles::new(&a.arms);
    let sections = sections(a, results, &styles);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (a.name) " – Seedbed" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kicker { "Seedbed sweep" }
                    h1 { (a.name) }
                    p.question { (answer::question(a)) }
                    div.answer {
                        @if a.exploratory() { span.badge { "exploratory" } }
                        @if a.sealed() { span.badge { "sealed" } }
                        @for line in answer::answer(a) { p { (line) } }
                    }
                    (legend(a, &styles))
                }
                nav {
                    ol {
                        @for (id, title, _) in &sections {
                            li { a href={"#" (id)} { (title) } }
                        }
                        li { a href="#provenance" { "Provenance" } }
                    }
                }
                main {
                    @for (id, title, content) in &sections {
                        section id=(id) { h2 { (title) } (content) }
                    }
                    (PreEscaped(format!("\n{PROVENANCE_MARK}\n")))
                    section #provenance {
                        h2 { "Provenance" }
                        p { (provenance::summary(results)) }
                        (table(&provenance::machines(results)))
                        (table(&provenance::failures(results)))
                        p { "Each attempt with its times: " code { "provenance.json" } "." }
                    }
                }
            }
        }
    };
    page.into_string()
}

/// The parts that depend on the sweep and its results alone.
fn sections(
    a: &Analysis,
    results: &SweepResults,
    styles: &Styles,
) -> Vec<(&'static str, &'static str, Markup)> {
    let mut sections = vec![(
        "results",
        "Results",
        html! {
            (table(&tables::surface(a)))
            (table(&tables::differences(a)))
        },
    )];
    let mut figures = 0;
    let mut part = |id, title, drawings: Vec<Figure>, more: Markup| {
        if !drawings.is_empty() || !more.0.is_empty() {
            let content = html! {
                @for drawing in &drawings {
                    @let number = { figures += 1; figures };
                    (figure(drawing, number))
                }
                (more)
            };
            sections.push((id, title, content));
        }
    };
    let dots = [figure::paired_dots(a, styles), figure::forest(a, styles)];
    part(
        "seeds",
        "The twins of each seed",
        dots.into_iter().flatten().collect(),
        html! {},
    );

    let metrics = [a.primary.as_str()].into_iter().chain(FURTHER_CURVES);
    let mut curves: Vec<Figure> = metrics
        .enumerate()
        .filter(|(i, metric)| *i == 0 || *metric != a.primary)
        .filter_map(|(_, m)| figure::learning_curves(a, styles, &a.selection_split, m))
        .collect();
    curves.extend(figure::learning_curves(a, styles, "train", "loss"));
    part("learning", "Learning", curves, table(&tables::reach(a)));
    let grid = figure::surface(a, styles).into_iter().collect();
    part("grid", "The whole grid", grid, html! {});
    part(
        "mechanisms",
        "Inside the networks",
        figure::mechanisms(a, styles),
        html! {
            (table(&inspections::table(results, a)))
            (table(&inspections::notes(results, a)))
        },
    );
    let every = html! {
        @for block in a.blocks() { (table(&tables::seeds(a, block))) }
        (table(&tables::success(a)))
    };
    part("every-seed", "Every seed", Vec::new(), every);
    if !a.notes.is_empty() {
        let notes = html! { ul { @for note in &a.notes { li { (note) } } } };
        sections.push(("notes", "Notes on the runs", notes));
    }
    sections.push(("method", "How it was computed", method(a)));
    sections.push((
        "sweep",
        "The sweep",
        html! { pre { code { (results.yaml) } } },
    ));
    sections
}

fn legend(a: &Analysis, styles: &Styles) -> Markup {
    html! {
        ul.legend {
            @for arm in &a.arms {
                @let style = styles.of(arm);
                li { (PreEscaped(style.swatch())) " " (arm) }
            }
            li { span.dash {} " floors: what shortcuts score" }
        }
    }
}

fn figure(f: &Figure, number: usize) -> Markup {
    html! {
        figure {
            figcaption.title { b { "Figure " (number) "." } " " (f.title) }
            div.scroll { (PreEscaped(&f.svg)) }
            figcaption { (f.caption) }
        }
    }
}

fn table(t: &Table) -> Markup {
    if t.is_empty() {
        return html! {};
    }
    let class = |i: usize| {
        t.columns
            .get(i)
            .is_some_and(|c| c.numeric)
            .then_some("number")
    };
    html! {
        figure.table {
            figcaption.title { (t.title) }
            div.scroll {
                table {
                    thead { tr { @for (i, c) in t.columns.iter().enumerate() {
                        th class=[class(i)] { (c.head) }
                    } } }
                    @for section in &t.sections {
                        tbody { @for row in section { tr {
                            @for (i, cell) in row.iter().enumerate() {
                                td class=[class(i)] { (cell) }
                            }
                        } } }
                    }
                }
            }
            @if !t.note.is_empty() { figcaption { (t.note) } }
        }
    }
}

fn method(a: &Analysis) -> Markup {
    html! {
        ul {
            li {
                "A seed is an independent initialisation and data order over one fixed split of "
                "the task. The twins of a seed see the same data in the same order, so arms are "
                "compared within seeds."
            }
            li {
                "Interval: Student's t below 20 seeds, BCa bootstrap with 10,000 seeded resamples "
                "from 20 on. p: two-sided sign-flip test, exact below 20 pairs. Here: "
                (count(a.seeds.len(), "seed")) "."
            }
            li {
                "g_z is Hedges' standardised mean of the differences, P(improve) the share of "
                "seeds in which the arm is above its twin (ties count half). Without any spread "
                "g_z and t are NA."
            }
            @if let Some(select) = &a.compare.select {
                li {
                    "The value of " code { (select.axis) } " is chosen for each arm and "
                    "each set of the other axes by the mean of " code { (select.by) }
                    " over seeds, among the values with the most finished seeds. Tests stay sealed "
                    "until the choice is on record."
                }
            }
            li {
                "Holm's adjustment within the table of paired differences; all other comparisons "
                "(" code { "comparisons.csv" } ") are exploratory, Benjamini–Hochberg."
            }
            li {
                "Incongruent trials are those in which the irrelevant dimension points to the "
                "other side: a network that ignores the cue can't pass them, while plain accuracy "
                "gives it 75 %."
            }
        }
    }
}
