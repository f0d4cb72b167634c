"""What is odd about policies that compile: rules that say less, or other things, than their author thinks."""
