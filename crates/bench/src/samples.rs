//! Repeated measurements of one quantity.

use statrs::statistics::{Data, OrderStatistics};

/// The measurements; statistics of none are not a number.
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
        self.data().median()
    }

    /// Returns the value that 99 % of the samples do not exceed.
    pub fn percentile_99(&self) -> f64 {
        self.data().percentile(99)
    }

    /// Returns the text of the median, to one decimal.
    pub fn median_text(&self) -> String {
        one_decimal(self.median())
    }

    /// Returns the text of the median with its sign, to one decimal.
    pub fn signed_median_text(&self) -> String {
        format!("{:+.1}", rounded(self.median()))
    }

    /// Returns the text of the lower and the upper quartile.
    pub fn quartiles_text(&self) -> String {
        let mut data = self.data();
        let [lower, upper] = [data.lower_quartile(), data.upper_quartile()];
        format!("{} to {}", one_decimal(lower), one_decimal(upper))
    }

    /// Copies the samples, since statrs sorts them in place.
    fn data(&self) -> Data<Vec<f64>> {
        Data::new(self.0.clone())
    }
}

fn one_decimal(number: f64) -> String {
    format!("{:.1}", rounded(number))
}

/// Rounds to one decimal. Adding zero turns a negative zero into a positive one.
fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0 + 0.0
}
