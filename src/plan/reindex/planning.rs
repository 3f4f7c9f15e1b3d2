//! From what was counted to ranges, as many as are wanted and a status has room for.

use crate::{
    api::reindex_status::{CopyPlan, PlannedIndex},
    plan::{
        ranges::{self, Bucket, Range},
        verify::{self, ShardPosition},
    },
};

use super::model::{Survey, SurveyedIndex};

/// Bytes of status that the indices and their ranges may take.
const ROOM: usize = 6 * 1024;

/// Every index with its ranges; and why they are not cut, where they are not.
pub fn plan(seen: &Survey) -> (Vec<PlannedIndex>, Option<String>) {
    let mut wanted = seen.load.ranges;
    loop {
        let planned = planned(seen, wanted);
        if fits(&planned) {
            return (planned, seen.undivided.clone());
        }
        if wanted <= 1 {
            break;
        }
        wanted /= 2;
    }
    let whole = Bucket { from: 0, to: i64::MAX, documents: documents(seen) };
    let index = SurveyedIndex { name: String::new(), from: None, buckets: vec![whole] };
    let why = format!("the names of its {} indices do not fit into a status", seen.indices.len());
    (planned(&Survey { indices: vec![index], ..seen.clone() }, 1), Some(why))
}

fn fits(planned: &[PlannedIndex]) -> bool {
    serde_json::to_vec(planned).is_ok_and(|bytes| bytes.len() <= ROOM)
}

/// Documents that were counted.
pub fn documents(seen: &Survey) -> i64 {
    seen.indices.iter().map(counted).sum()
}

fn counted(index: &SurveyedIndex) -> i64 {
    index.buckets.iter().map(|bucket| bucket.documents).sum()
}

fn planned(seen: &Survey, wanted: i32) -> Vec<PlannedIndex> {
    let total = documents(seen);
    // What is little next to the whole is one range, however many the whole is worth.
    let is_little = total < seen.documents && total <= 2 * i64::from(seen.load.batch_size);
    let wanted = if is_little { 1 } else { wanted };
    let of = |index: &SurveyedIndex| {
        let shards: Vec<&ShardPosition> = match index.name.is_empty() {
            true => seen.shards.iter().collect(),
            false => seen.shards.iter().filter(|shard| shard.index == index.name).collect(),
        };
        PlannedIndex {
            name: index.name.clone(),
            uuid: verify::uuid(&shards),
            history: verify::history(&shards),
            noted: verify::noted(&shards),
            highest: verify::highest(&shards),
            ranges: ranges::encode(&cut(index, wanted, total)),
        }
    };
    seen.indices.iter().map(of).collect()
}

/// An index's ranges: a share of the wanted number by its documents, at least one. In a round of catching up an index without changes
/// has none.
fn cut(index: &SurveyedIndex, wanted: i32, total: i64) -> Vec<Range> {
    let documents = counted(index);
    if index.from.is_some() && documents == 0 {
        return vec![];
    }
    let share = i128::from(wanted) * i128::from(documents) / i128::from(total.max(1));
    ranges::join(&index.name, &index.buckets, share.max(1) as usize, index.from)
}

/// How far back a planned index has to be looked at to catch up: from the operation after the note, or from the beginning where the
/// index is another one now, or its shards have another history.
pub fn window(plan: &CopyPlan, name: &str, shards: &[&ShardPosition]) -> Option<i64> {
    let planned = plan.indices.iter().find(|index| index.name == name)?;
    let same = planned.uuid == verify::uuid(shards) && planned.history == verify::history(shards);
    same.then_some(planned.noted + 1)
}

#[cfg(test)]
mod tests {
    use crate::plan::load::Load;

    use super::*;

    fn survey(indices: usize, name: usize, ranges: i32) -> Survey {
        let index = |n: usize| SurveyedIndex {
            name: format!("{n:0>name$}"),
            from: None,
            buckets: (0..2048)
                .map(|n| Bucket { from: n * 1_000_000, to: (n + 1) * 1_000_000, documents: 900_000 })
                .collect(),
        };
        Survey {
            shards: vec![],
            documents: 0,
            indices: (0..indices).map(index).collect(),
            undivided: None,
            load: Load { batch_size: 1000, parallelism: 8, ranges },
            tuning: None,
            slots: 1,
        }
    }

    #[test]
    fn there_are_as_many_ranges_as_fit_into_a_status() {
        for (indices, name, wanted, least) in [(1, 9, 64, 64), (1, 255, 512, 256), (8, 40, 512, 128), (30, 40, 512, 30)]
        {
            let (planned, undivided) = plan(&survey(indices, name, wanted));
            let ranges: usize = planned.iter().map(|index| ranges::decode("", &index.ranges).unwrap().len()).sum();
            assert!(ranges >= least, "{indices} indices: {ranges} ranges");
            assert!(fits(&planned) && undivided.is_none());
        }
    }

    #[test]
    fn indices_whose_names_do_not_fit_are_copied_at_once() {
        let (planned, undivided) = plan(&survey(64, 255, 512));
        assert_eq!((planned.len(), planned[0].name.as_str()), (1, ""));
        assert!(undivided.is_some_and(|why| why.contains("64 indices")));
    }
}
