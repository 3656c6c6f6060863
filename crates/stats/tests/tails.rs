//! Every law that a p-value is taken from, against 60 digits of mpmath (`tails.py` writes `tails.csv`).

use scratchproof_stats::{
    log10_binomial_upper, log10_coincidences, log10_compound_upper, log10_kolmogorov, log10_poisson_upper,
    log10_upper_tail,
};

/// Largest difference in log10 p: 1e-10, or what a number of this size can hold.
fn allowed(expected: f64) -> f64 {
    1e-10_f64.max(expected.abs() * 1e-14)
}

#[test]
fn tails_are_those_of_60_digits() {
    let mut failed = Vec::new();
    let mut laws = std::collections::BTreeMap::<&str, (usize, f64)>::new();
    for line in include_str!("tails.csv").lines() {
        let parts: Vec<&str> = line.split(',').collect();
        let expected: f64 = parts[parts.len() - 1].parse().expect("a number");
        let real = |at: usize| parts[at].parse::<f64>().expect("a number");
        let whole = |at: usize| parts[at].parse::<u64>().expect("a whole number");
        let got = match parts[0] {
            "normal" => log10_upper_tail(real(1)),
            "poisson" => log10_poisson_upper(whole(1), real(2)),
            "coins" => log10_binomial_upper(whole(1), whole(2)),
            "common" => log10_coincidences(whole(1), whole(2), whole(3), whole(4)),
            "compound" => log10_compound_upper(whole(1), real(2), parts[3].parse().expect("a size")),
            "kolmogorov" => log10_kolmogorov(real(1)),
            other => panic!("no law {other}"),
        };
        let law = laws.entry(parts[0]).or_insert((0, 0.0));
        *law = (law.0 + 1, law.1.min(expected));
        if (got - expected).abs() > allowed(expected) || got.is_nan() {
            failed.push(format!("{line}: {got:.15}, off by {:.1e}", (got - expected).abs()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(laws.len(), 6);
    assert!(laws.values().all(|(rows, least)| *rows >= 6 && *least < -100.0), "{laws:?}");
}
