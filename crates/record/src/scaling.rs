//! Whether a run scaled its losses, from its configuration and columns.

use super::run::Run;

impl Run {
    /// Whether the program scales its losses, as in 16 bits, and so may skip updates and the scheduler's steps with them: what it
    /// says. Only a program that says that it computes in bfloat16 or in 32 bits surely does not.
    #[must_use]
    pub fn scales_losses(&self) -> Option<bool> {
        let name =
            |key: &str| key.rsplit(['.', '/']).next().unwrap_or(key).to_ascii_lowercase().replace(['-', ' '], "_");
        let scaled = |key: &String| {
            ["loss_scale", "lossscale", "grad_scale", "gradscale", "amp_scale", "scaler"]
                .iter()
                .any(|word| name(key).contains(word))
        };
        if self.history.columns.keys().any(scaled) {
            return Some(true);
        }
        let mut other = false;
        for (key, value) in &self.config {
            let (name, on) = (name(key), value.as_bool().unwrap_or(false));
            let word = value.as_str().unwrap_or_default().to_ascii_lowercase();
            let says = |words: &[&str]| words.iter().any(|w| word == *w);
            match name.as_str() {
                // `fp16.enabled` of DeepSpeed too.
                "fp16" | "float16" | "use_fp16" | "amp" | "use_amp" if on => return Some(true),
                "enabled" if on && key.to_ascii_lowercase().contains("fp16") => return Some(true),
                "bf16" | "bfloat16" | "use_bf16" | "fp32" if on => other = true,
                "enabled" if on && key.to_ascii_lowercase().contains("bf16") => other = true,
                "precision" | "mixed_precision" | "dtype" | "amp_dtype" | "param_dtype" | "compute_dtype" => {
                    if says(&[
                        "fp16",
                        "float16",
                        "16",
                        "16_mixed",
                        "16-mixed",
                        "16-true",
                        "half",
                        "torch.float16",
                        "amp_fp16",
                    ]) || value.as_u64() == Some(16)
                    {
                        return Some(true);
                    }
                    other |= says(&[
                        "bf16",
                        "bfloat16",
                        "bf16-mixed",
                        "bf16-true",
                        "torch.bfloat16",
                        "amp_bf16",
                        "fp32",
                        "float32",
                        "32",
                        "32-true",
                    ]) || value.as_u64() == Some(32);
                }
                _ => {}
            }
        }
        other.then_some(false)
    }
}
