//! The Mersenne twister MT19937 (Matsumoto and Nishimura 1998), seeded from one word as in the authors' `init_genrand`,
//! which is what `PyTorch` and numpy's legacy generator do with an integer seed.

const N: usize = 624;
const M: usize = 397;

/// A stream of 32-bit words.
#[derive(Clone, Debug)]
pub struct Mt19937 {
    state: Box<[u32; N]>,
    /// Words already handed out of `state`.
    used: usize,
}

impl Mt19937 {
    /// The stream of a seed; of a longer seed the low 32 bits count, as in `torch.manual_seed`.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)]
    pub fn new(seed: u64) -> Self {
        let mut state = Box::new([0_u32; N]);
        let mut last = seed as u32;
        for (i, word) in (0_u32..).zip(state.iter_mut()) {
            if i > 0 {
                last = (last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i);
            }
            *word = last;
        }
        Self { state, used: N }
    }

    /// The next word.
    pub fn next_word(&mut self) -> u32 {
        let mut word = [0];
        self.fill(&mut word);
        word[0]
    }

    /// The next words.
    pub fn fill(&mut self, out: &mut [u32]) {
        let mut rest = out;
        while !rest.is_empty() {
            if self.used == N {
                self.twist();
            }
            let count = rest.len().min(N - self.used);
            let (now, later) = rest.split_at_mut(count);
            for (word, &state) in now.iter_mut().zip(&self.state[self.used..]) {
                *word = temper(state);
            }
            self.used += count;
            rest = later;
        }
    }

    /// Leaves out `count` words. Takes time in proportion to it, about a third of that of [`Self::fill`].
    #[allow(clippy::cast_possible_truncation)] // of a number below 624
    pub fn skip(&mut self, count: u64) {
        let mut rest = count;
        let left = (N - self.used) as u64;
        if rest <= left {
            self.used += rest as usize;
            return;
        }
        rest -= left;
        while rest > N as u64 {
            self.twist();
            rest -= N as u64;
        }
        self.twist();
        self.used = rest as usize;
    }

    fn twist(&mut self) {
        let state = &mut *self.state;
        for i in 0..N - M {
            state[i] = state[i + M] ^ mix(state[i], state[i + 1]);
        }
        for i in N - M..N - 1 {
            state[i] = state[i + M - N] ^ mix(state[i], state[i + 1]);
        }
        state[N - 1] = state[M - 1] ^ mix(state[N - 1], state[0]);
        self.used = 0;
    }
}

#[inline]
fn mix(high: u32, low: u32) -> u32 {
    (((high & 0x8000_0000) | (low & 0x7fff_ffff)) >> 1) ^ (0_u32.wrapping_sub(low & 1) & 0x9908_b0df)
}

#[inline]
fn temper(word: u32) -> u32 {
    let mut y = word;
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c_5680;
    y ^= (y << 15) & 0xefc6_0000;
    y ^ (y >> 18)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_the_published_ones() {
        // The 10000th output of seed 5489 as ISO C++ 26.6.5 states it for std::mt19937.
        let mut words = Mt19937::new(5489);
        words.skip(9999);
        assert_eq!(words.next_word(), 4_123_659_995);
    }

    #[test]
    fn a_skip_is_as_many_words_left_out() {
        for count in [0, 1, 5, 623, 624, 625, 1247, 1248, 1249, 5000] {
            let (mut a, mut b) = (Mt19937::new(7), Mt19937::new(7));
            for lead in [0, 3, 621] {
                a.skip(lead);
                b.skip(lead);
                a.skip(count);
                (0..count).for_each(|_| {
                    b.next_word();
                });
                assert_eq!(a.next_word(), b.next_word(), "{lead} {count}");
            }
        }
    }
}
