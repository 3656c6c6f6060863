//! scaffold
use faer::mat::MatRef;
pub fn log10_poisson_upper(k: u64, mean: f64) -> f64 {
    if k == 0 { return 0.0; }
    // log sum_{i>=k} e^-m m^i/i!
    let lg = |i: f64| statrs::function::gamma::ln_gamma(i + 1.0);
    let first = -mean + k as f64 * mean.ln() - lg(k as f64);
    let mut sum = 1.0; let mut term = 1.0; let mut i = k as f64;
    loop { i += 1.0; term *= mean / i; sum += term; if term < 1e-17 * sum { break; } }
    ((first + f64::ln(sum)) / std::f64::consts::LN_10).min(0.0)
}
pub fn polar(m: &[f64], r: usize, c: usize) -> Option<Vec<f64>> {
    let a = MatRef::from_row_major_slice(m, r, c);
    let svd = a.thin_svd().ok()?;
    let q = svd.U() * svd.V().transpose();
    Some((0..r).flat_map(|i| (0..c).map(move |j| (i, j))).map(|(i, j)| q[(i, j)]).collect())
}
pub fn row_basis(v: &[f32], r: usize, c: usize) -> Vec<f32> {
    let mut out: Vec<Vec<f64>> = Vec::new();
    for i in 0..r {
        let mut x: Vec<f64> = v[i * c..(i + 1) * c].iter().map(|v| f64::from(*v)).collect();
        let n0 = x.iter().map(|v| v * v).sum::<f64>().sqrt();
        for _ in 0..2 { for b in &out { let d: f64 = x.iter().zip(b).map(|(a, b)| a * b).sum(); x.iter_mut().zip(b).for_each(|(a, b)| *a -= d * b); } }
        let n = x.iter().map(|v| v * v).sum::<f64>().sqrt();
        if n > 1e-6 * n0 && n > 0.0 { x.iter_mut().for_each(|v| *v /= n); out.push(x); }
    }
    out.concat().into_iter().map(|v| v as f32).collect()
}
pub struct Mantel { pub z: f64, pub effect: f64 }
pub fn correlation(a: &[f32], b: &[f32]) -> Option<Mantel> {
    if a.is_empty() || a.len() != b.len() { return None; }
    let r: f64 = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
    Some(Mantel { z: r * ((a.len() - 1) as f64).sqrt(), effect: r })
}
