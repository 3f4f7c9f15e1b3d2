//! What repeats of one measurement come to.

/// A middle and how far the samples lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The median: one slow repeat on a machine that does other things too doesn't move it.
    pub median: f64,
    /// The smallest sample.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// Sums samples up; `None` when there are none.
pub fn summary(samples: &[f64]) -> Option<Summary> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
    Some(Summary { median, min, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(summary(&[3.0, 1.0, 9.0]), Some(Summary { median: 3.0, min: 1.0, max: 9.0 }));
        assert_eq!(summary(&[4.0, 1.0, 2.0, 9.0]), Some(Summary { median: 3.0, min: 1.0, max: 9.0 }));
        assert_eq!(summary(&[]), None);
    }
}
