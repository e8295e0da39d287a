//! Several measurements of the same.

/// At least one of them.
#[derive(Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    pub fn extend(&mut self, samples: impl IntoIterator<Item = f64>) {
        self.0.extend(samples);
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The smallest sample that so large a part of all does not exceed.
    pub fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or(f64::NAN)
    }

    /// The median to one decimal.
    pub fn middle(&self) -> String {
        format!("{:.1}", self.median())
    }

    /// Between which the middle half of all is.
    pub fn quartiles(&self) -> String {
        format!("{:.1} to {:.1}", self.quantile(0.25), self.quantile(0.75))
    }
}
