use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;

/// The largest bound of each [`ROWS_PER_MAXIMUM`] rows.
fn maxima(bounds: &[f32]) -> Vec<f32> {
    let largest = |bounds: &[f32]| bounds.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    bounds.chunks(ROWS_PER_MAXIMUM).map(largest).collect()
}

/// Scores with a few unusual values among them.
fn score() -> impl Strategy<Value = f32> {
    prop_oneof![
        20 => -8.0f32..8.0,
        2 => (-3i8..3).prop_map(f32::from),
        1 => prop::sample::select(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0][..]),
    ]
}

proptest! {
    #[test]
    fn bounds_are_scores_and_reach_times_errors(
        rows in prop::collection::vec((score(), 0.0f32..2.0), 1..400), reach in 0.0f32..3.0,
    ) {
        let mut scores: Vec<f32> = rows.iter().map(|r| r.0).collect();
        let errors: Vec<u8> = rows.iter().flat_map(|r| r.1.to_le_bytes()).collect();
        bound(&mut scores, &errors, reach);
        for (bound, (score, error)) in scores.iter().zip(&rows) {
            prop_assert_eq!(bound.to_bits(), (score + reach * error).to_bits());
        }
    }

    #[test]
    fn the_list_is_what_a_walk_over_all_groups_finds(
        bounds in prop::collection::vec(score(), 1..900), least in score(), room in 0usize..120,
    ) {
        let reaches = |group: &[f32]| group.iter().filter(|&&b| b >= least).count();
        let naive: Vec<(u32, usize)> = (0..).zip(bounds.chunks(GROUP).map(reaches)).filter(|g| g.1 > 0).collect();
        let mut list = alloc::vec![0; room];
        let found = select(&bounds, &maxima(&bounds), least, &mut list);
        // No bound reaches a least score of NaN, and no maximum is below it.
        if naive.len() > room {
            prop_assert_eq!(found, None);
        } else {
            let rows = naive.iter().map(|g| g.1).sum();
            prop_assert_eq!(found, Some(Selected { groups: naive.len(), rows }));
            let groups: Vec<u32> = naive.iter().map(|g| g.0).collect();
            prop_assert_eq!(&list[..groups.len()], &groups[..]);
        }
    }

    #[test]
    fn the_nth_largest_is_the_nth_of_a_sorted_list(
        values in prop::collection::vec(score(), 0..300), n in 0usize..310,
    ) {
        let mut sorted: Vec<f32> = values.iter().map(|v| if v.is_nan() { f32::NEG_INFINITY } else { *v }).collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let expected = n.checked_sub(1).and_then(|i| sorted.get(i)).copied();
        let found = nth_largest(&mut values.clone(), n);
        prop_assert_eq!(found, expected.unwrap_or(f32::NEG_INFINITY));
    }

    #[test]
    fn misses_are_rows_of_groups_that_are_not_listed(
        scores in prop::collection::vec(score(), 1..600), least in -4.0f32..8.0, odd in 1usize..9,
    ) {
        let list: Vec<u32> = (0..scores.len().div_ceil(GROUP) as u32).filter(|g| g % odd as u32 != 0).collect();
        let listed = |row: usize| list.contains(&((row / GROUP) as u32));
        let naive = (0..scores.len()).filter(|&row| !listed(row) && scores[row] >= least).count();
        prop_assert_eq!(missed(&scores, &list, least), naive);
    }

    /// The whole method: if no score exceeds its bound, each of the k likeliest rows is
    /// selected, from whichever rows the least score was taken.
    #[test]
    fn no_row_of_the_first_k_is_left_out_if_the_bounds_hold(
        rows in prop::collection::vec((-8.0f32..8.0, 0.0f32..1.0), 64..900),
        k in 1usize..12, seeds in 1usize..40,
    ) {
        let scores: Vec<f32> = rows.iter().map(|r| r.0).collect();
        let bounds: Vec<f32> = rows.iter().map(|r| r.0 + r.1).collect();
        let largest = maxima(&bounds);
        let mut list = alloc::vec![0; rows.len()];
        let seed = nth_largest(&mut largest.clone(), seeds.min(largest.len()));
        let chosen = select(&bounds, &largest, seed, &mut list).unwrap();
        let of_groups = |list: &[u32]| list.iter().flat_map(|&g| scores[rows_of(g, scores.len())].to_vec()).collect::<Vec<f32>>();
        let reached = nth_largest(&mut of_groups(&list[..chosen.groups]), k);
        let selected = select(&bounds, &largest, reached.min(seed), &mut list).unwrap();
        let list = &list[..selected.groups];
        let kth = nth_largest(&mut scores.clone(), k);
        for (row, score) in scores.iter().enumerate() {
            prop_assert!(*score < kth || list.contains(&((row / GROUP) as u32)), "row {row}");
        }
        prop_assert_eq!(missed(&scores, list, nth_largest(&mut of_groups(list), k)), 0);
    }
}
