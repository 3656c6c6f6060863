//! What a model computes, so that a disguise that should keep the function can be held to it: Llama, Mixtral and
//! GLM-4-MoE as transformers has them, in f64 and one sequence at a time.

use super::weights::Model;

/// Logits of every position, token by token.
pub fn logits(model: &Model, tokens: &[usize]) -> Vec<Vec<f64>> {
    let net = Net(model);
    let embedding = &model.tensors["model.embed_tokens.weight"];
    let wide = embedding.sides().1;
    let row = |token: &usize| embedding.values[token * wide..][..wide].iter().map(|x| f64::from(*x)).collect();
    let mut stream: Vec<Vec<f64>> = tokens.iter().map(row).collect();
    for layer in 0..model.size("num_hidden_layers") {
        let at = format!("model.layers.{layer}.");
        let seen: Vec<Vec<f64>> = stream.iter().map(|x| net.norm(&format!("{at}input_layernorm"), x)).collect();
        add(&mut stream, net.attention(&format!("{at}self_attn."), &seen));
        let seen = stream.iter().map(|x| net.norm(&format!("{at}post_attention_layernorm"), x));
        let out = seen.map(|x| net.feed(&at, &x)).collect();
        add(&mut stream, out);
    }
    stream.iter().map(|x| net.linear("lm_head", &net.norm("model.norm", x))).collect()
}

fn add(stream: &mut [Vec<f64>], what: Vec<Vec<f64>>) {
    for (x, y) in stream.iter_mut().flatten().zip(what.into_iter().flatten()) {
        *x += y;
    }
}

fn softmax(values: &[f64]) -> Vec<f64> {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = values.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|x| x / sum).collect()
}

struct Net<'a>(&'a Model);

impl Net<'_> {
    fn vector(&self, name: &str) -> Option<Vec<f64>> {
        Some(self.0.tensors.get(name)?.values.iter().map(|x| f64::from(*x)).collect())
    }

    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let weight = &self.0.tensors.get(&format!("{name}.weight")).unwrap_or_else(|| panic!("no {name}")).values;
        let product = |row: &[f32]| row.iter().zip(x).map(|(a, b)| f64::from(*a) * b).sum::<f64>();
        let mut out: Vec<f64> = weight.chunks_exact(x.len()).map(product).collect();
        if let Some(bias) = self.vector(&format!("{name}.bias")) {
            out.iter_mut().zip(bias).for_each(|(x, b)| *x += b);
        }
        out
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let weight = self.vector(&format!("{name}.weight")).expect("a norm");
        let epsilon = self.0.config["rms_norm_eps"].as_f64().expect("a number");
        let rms = (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + epsilon).sqrt();
        x.iter().zip(weight).map(|(x, w)| x / rms * w).collect()
    }

    /// Turns the pairs (i, i + half) of a head by its position.
    fn rotary(&self, head: &mut [f64], position: usize) {
        let rope = &self.0.config["rope_parameters"];
        let theta = rope["rope_theta"].as_f64().expect("a number");
        let half = rotary_pairs(self.0);
        for i in 0..half {
            let (sine, cosine) = (position as f64 / theta.powf(i as f64 / half as f64)).sin_cos();
            let (a, b) = (head[i], head[i + half]);
            (head[i], head[i + half]) = (a * cosine - b * sine, b * cosine + a * sine);
        }
    }

    fn attention(&self, at: &str, seen: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let wide = self.0.size("head_dim");
        let group = self.0.size("num_attention_heads") / self.0.size("num_key_value_heads");
        let project = |kind: &str, turned: bool| -> Vec<Vec<f64>> {
            let one = |(position, x): (usize, &Vec<f64>)| {
                let mut heads = self.linear(&format!("{at}{kind}"), x);
                if turned {
                    heads.chunks_exact_mut(wide).for_each(|head| self.rotary(head, position));
                }
                heads
            };
            seen.iter().enumerate().map(one).collect()
        };
        let (q, k, v) = (project("q_proj", true), project("k_proj", true), project("v_proj", false));
        let one = |(position, q): (usize, &Vec<f64>)| {
            let mut out = Vec::new();
            for (head, q) in q.chunks_exact(wide).enumerate() {
                let from = head / group * wide;
                let score = |k: &Vec<f64>| {
                    k[from..from + wide].iter().zip(q).map(|(a, b)| a * b).sum::<f64>() / (wide as f64).sqrt()
                };
                let weights = softmax(&k[..=position].iter().map(score).collect::<Vec<f64>>());
                out.extend((0..wide).map(|i| weights.iter().zip(&v).map(|(w, v)| w * v[from + i]).sum::<f64>()));
            }
            self.linear(&format!("{at}o_proj"), &out)
        };
        q.iter().enumerate().map(one).collect()
    }

    fn gated(&self, [gate, up, down]: [String; 3], x: &[f64]) -> Vec<f64> {
        let gate = self.linear(&gate, x).into_iter().map(|g| g / (1.0 + (-g).exp()));
        let inner: Vec<f64> = gate.zip(self.linear(&up, x)).map(|(g, u)| g * u).collect();
        self.linear(&down, &inner)
    }

    fn feed(&self, at: &str, x: &[f64]) -> Vec<f64> {
        let llama = |at: &str| ["gate", "up", "down"].map(|kind| format!("{at}{kind}_proj"));
        let glm = self.0.config["model_type"] == "glm4_moe";
        let router = format!("{at}{}.gate", if glm { "mlp" } else { "block_sparse_moe" });
        if !self.0.tensors.contains_key(&format!("{router}.weight")) {
            return self.gated(llama(&format!("{at}mlp.")), x);
        }
        let scores = self.linear(&router, x);
        let scores = if glm { scores.iter().map(|s| 1.0 / (1.0 + (-s).exp())).collect() } else { softmax(&scores) };
        let correction = self.vector(&format!("{router}.e_score_correction_bias"));
        let choice: Vec<f64> =
            scores.iter().enumerate().map(|(e, s)| s + correction.as_ref().map_or(0.0, |c| c[e])).collect();
        let mut order: Vec<usize> = (0..choice.len()).collect();
        order.sort_by(|a, b| choice[*b].total_cmp(&choice[*a]));
        order.truncate(self.0.size("num_experts_per_tok"));
        let sum: f64 = order.iter().map(|e| scores[*e]).sum();
        let mut out = vec![vec![0.0; x.len()]];
        for expert in order {
            let own = if glm {
                llama(&format!("{at}mlp.experts.{expert}."))
            } else {
                ["w1", "w3", "w2"].map(|kind| format!("{at}block_sparse_moe.experts.{expert}.{kind}"))
            };
            add(&mut out, vec![self.gated(own, x).into_iter().map(|y| y * scores[expert] / sum).collect()]);
        }
        if glm {
            add(&mut out, vec![self.gated(llama(&format!("{at}mlp.shared_experts.")), x)]);
        }
        out.remove(0)
    }
}

/// Pairs of a head's dimensions that its position turns.
pub fn rotary_pairs(model: &Model) -> usize {
    let share = model.config["rope_parameters"].get("partial_rotary_factor").and_then(serde_json::Value::as_f64);
    (model.size("head_dim") as f64 * share.unwrap_or(1.0)) as usize / 2
}
